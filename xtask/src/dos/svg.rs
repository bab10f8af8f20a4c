//! A very small SVG writer: scales, shapes, text. No scripts, no fonts, no outside references; colours come from the page's CSS classes.

use std::fmt::Write as _;

/// A drawing.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    label: String,
    body: String,
}

/// Escapes text for XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Svg {
    /// An empty drawing; `label` says what it shows to those who cannot see it.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        Self { width, height, label: label.to_owned(), body: String::new() }
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64)) {
        let (w, h) = (w.max(0.0), h.max(0.0));
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}"/>"#
        );
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), r: f64) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#);
    }

    /// A path through the points; closed when `class` fills it.
    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)], close: bool) {
        let mut d = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
        }
        let _ = writeln!(self.body, r#"<path class="{class}" d="{d}{}"/>"#, if close { "Z" } else { "" });
    }

    /// Text anchored at its `start`, `middle` or `end`.
    pub(super) fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// The finished element.
    pub(super) fn finish(self) -> String {
        let Self { width, height, label, body } = self;
        let label = escape(&label);
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n<title>{label}</title>\n{body}</svg>\n"
        )
    }
}

/// A mapping of values to places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
    log: bool,
}

impl Scale {
    pub(super) fn linear(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to, log: false }
    }

    /// Logarithmic; both ends of `from` must be above zero.
    pub(super) fn log(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from: (from.0.log10(), from.1.log10()), to, log: true }
    }

    /// The place of a value, kept within the scale.
    pub(super) fn at(&self, value: f64) -> f64 {
        let v = if self.log { value.max(1e-12).log10() } else { value };
        let (a, b) = self.from;
        let t = if b > a { ((v - a) / (b - a)).clamp(0.0, 1.0) } else { 0.0 };
        self.to.0 + t * (self.to.1 - self.to.0)
    }
}

/// Round steps for a linear axis from 0 to `max`: about `wanted` of them.
pub(super) fn ticks(max: f64, wanted: usize) -> Vec<f64> {
    let raw = (max / wanted.max(1) as f64).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(raw);
    (0..=(max / step) as usize).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_and_clamp() {
        let linear = Scale::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!((linear.at(0.0), linear.at(5.0), linear.at(99.0)), (100.0, 50.0, 0.0));
        let log = Scale::log((1.0, 100.0), (0.0, 10.0));
        assert!((log.at(10.0) - 5.0).abs() < 1e-9);
        assert_eq!(log.at(0.0), 0.0);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(60.0, 4), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(ticks(1100.0, 4), [0.0, 500.0, 1000.0]);
    }

    #[test]
    fn text_is_escaped() {
        let mut svg = Svg::new(1.0, 1.0, "a<b");
        svg.text("c", "start", (0.0, 0.0), "x & \"y\"");
        let out = svg.finish();
        assert!(out.contains("a&lt;b") && out.contains("x &amp; &quot;y&quot;"));
    }
}
