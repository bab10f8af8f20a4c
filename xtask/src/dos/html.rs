//! `report.html`: one self-contained page that shows the stall at a glance. Styles and drawings are inline; there is no script.

use super::judge::{Condition, times};
use super::matrix::{Stall, Trigger, World};
use super::plot::{self, Range};
use super::run::{PhaseName, Run};
use super::stats::{self, ratio};
use super::svg::escape;
use super::table::duration;
use crate::image::{Format, Image};
use crate::size;
use std::fmt::Write as _;

/// What the page is about.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) runs: &'a [Run],
    pub(super) conditions: &'a [Condition],
    pub(super) image: &'a Image,
    pub(super) format: Format,
}

const STYLE: &str = include_str!("report.css");

/// The page.
pub(super) fn page(page: &Page<'_>) -> String {
    let mut out = String::new();
    let failed = page.conditions.iter().filter(|c| !c.ok).count();
    let verdict = if failed == 0 {
        format!("<span class=\"good\">all {} conditions hold</span>", page.conditions.len())
    } else {
        format!("<span class=\"bad\">{failed} of {} conditions do not hold</span>", page.conditions.len())
    };
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Drover: the exec-server attack</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>The exec-server attack of 2013, and who pays for it</h1>\n\
         <p class=\"lead\">A file of {} inflates to {} when it is run. Bound to a node as a passive translator, it makes whoever looks \
         the node up start it. The same binaries run in every world; only who pays, and for how long, differs. {verdict}.</p>\n",
        size::human(page.image.compressed_bytes) + " (" + page.format.name() + ")",
        size::human(page.image.plain_bytes),
    );
    for scene in scenes(page.runs) {
        scene_section(&mut out, &scene);
    }
    conditions(&mut out, page.conditions);
    out.push_str(
        "<footer>Times are guest time under instruction counting (one instruction is one nanosecond), so they repeat exactly. \
         A dot is where a sample begins, the bar after it is how long it took; a sample that never returned ends in an arrow and counts with its age. \
         The dashed line is the victim's fair p99. How it is done: docs/experiment.md.</footer>\n</body>\n</html>\n",
    );
    out
}

/// The runs that are compared with each other, in the order of the worlds.
fn scenes(runs: &[Run]) -> Vec<Vec<&Run>> {
    let mut scenes: Vec<Vec<&Run>> = Vec::new();
    for run in runs {
        match scenes.iter_mut().find(|s| s[0].job.scene() == run.job.scene()) {
            Some(scene) => scene.push(run),
            None => scenes.push(vec![run]),
        }
    }
    for scene in &mut scenes {
        scene.sort_by_key(|r| World::ALL.iter().position(|w| *w == r.job.world));
    }
    scenes
}

fn scene_title(run: &Run) -> String {
    let stall = match run.job.stall {
        Stall::A => "Stall a: the file system waits for the translator to start",
        Stall::B => "Stall b: the file system holds the node's lock across the exec",
        Stall::C => "Stall c: compressed programs queue behind exec's decompressor lock",
    };
    let trigger = match run.job.trigger {
        Trigger::Attacker => "the attacker opens its own node",
        Trigger::Victim => "a victim steps on the node first",
    };
    format!("{stall}; {trigger} ({})", run.job.format.name())
}

fn scene_section(out: &mut String, runs: &[&Run]) {
    let Some(first) = runs.first() else { return };
    let _ = write!(out, "<section>\n<h2>{}</h2>\n<div class=\"tiles\">\n", escape(&scene_title(first)));
    for run in runs {
        tile(out, run);
    }
    out.push_str(
        "</div>\n<h3>p99 during the attack, in multiples of the fair p99</h3>\n<div class=\"wide\">",
    );
    out.push_str(&plot::overview(runs));
    out.push_str("</div>\n<h3>Latency over time, on a logarithmic scale</h3>\n");
    let columns = runs.len().min(2);
    let mut victims: Vec<String> = Vec::new();
    for name in runs.iter().flat_map(|r| r.victims()) {
        if !victims.contains(&name) {
            victims.push(name);
        }
    }
    for victim in &victims {
        let range = Range::of(runs, victim);
        let _ = writeln!(out, "<div class=\"row c{columns}\">");
        for run in runs {
            let svg = plot::latency(run, victim, range);
            let world = run.job.world.as_str();
            let _ = writeln!(
                out,
                "<figure><figcaption><b>{}</b> in {world}</figcaption>{svg}</figure>",
                escape(victim)
            );
        }
        out.push_str("</div>\n");
    }
    out.push_str("<h3>Memory by account</h3>\n");
    let names = plot::accounts(runs);
    let all = || runs.iter().flat_map(|r| &r.memory).flat_map(|m| &m.accounts);
    let most = all().map(|a| a.1).max().unwrap_or(1) as f64;
    let seconds = Range::of(runs, "").seconds;
    out.push_str("<p class=\"legend\">");
    for (rank, name) in names.iter().enumerate() {
        let _ =
            write!(out, "<span><i class=\"key a{}\"></i>{}</span>", rank.min(plot::COLOURS), escape(name));
    }
    let _ = write!(out, "</p>\n<div class=\"row c{columns}\">\n");
    for run in runs {
        let svg = plot::memory(run, &names, seconds, most);
        let _ = writeln!(out, "<figure><figcaption>{}</figcaption>{svg}</figure>", run.job.world.as_str());
    }
    out.push_str("</div>\n");
    for run in runs {
        figures(out, run);
    }
    out.push_str("</section>\n");
}

/// The run in one sentence.
fn tile(out: &mut String, run: &Run) {
    let worst = stats::victims(run)
        .into_iter()
        .filter_map(|v| ratio(v.attack.p99, v.fair.p99).map(|r| (r, v)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let (class, big, small) = match worst {
        Some((r, v)) if r >= super::judge::STALL => {
            let open = if v.attack.open > 0 { ", never returned" } else { "" };
            let small = format!("for {} ({} its fair p99{open})", duration(v.attack.max), times(Some(r)));
            ("bad", format!("{} stalls", v.name), small)
        }
        Some((r, v)) => {
            let class = if r <= super::judge::HOLD { "good" } else { "fair" };
            let small = format!("worst p99 of all victims against its fair p99 ({})", v.name);
            (class, format!("nobody stalls: {}", times(Some(r))), small)
        }
        None => ("fair", "no figures".into(), "the run did not get to the attack".into()),
    };
    let exec = run.exec.map_or(String::new(), |(before, peak)| {
        format!("exec's own memory grows by {}", size::human(peak.saturating_sub(before) * 4096))
    });
    let attacker = run.attacker.as_ref().map_or(String::new(), |a| {
        let got = match a.result {
            0 => "gets what it wanted".to_owned(),
            6 => "gets KERN_RESOURCE_SHORTAGE".to_owned(),
            27 => "gets KERN_TIMEDOUT".to_owned(),
            100 => "gets DROVER_LOCK_HELD".to_owned(),
            code => format!("gets error {code}"),
        };
        format!("; the attacker {got} and was charged {} at most", size::human(a.frames_peak * 4096))
    });
    let _ = writeln!(
        out,
        "<div class=\"tile {class}\"><div class=\"world\">{}</div><div class=\"big\">{}</div><div>{}</div><div class=\"small\">{exec}{attacker}</div></div>",
        run.job.world.as_str(),
        escape(&big),
        escape(&small),
    );
}

fn figures(out: &mut String, run: &Run) {
    let _ = write!(
        out,
        "<details><summary>Figures: {}</summary>\n<table><tr><th>victim<th>phase<th>samples<th>open<th>errors<th>p50<th>p99<th>max<th>p99 / fair p99</tr>\n",
        run.job.label()
    );
    for v in stats::victims(run) {
        for (phase, s) in
            [(PhaseName::Idle, &v.idle), (PhaseName::Fair, &v.fair), (PhaseName::Attack, &v.attack)]
        {
            let _ = writeln!(
                out,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
                escape(&v.name),
                phase.name(),
                s.count,
                s.open,
                s.errors,
                duration(s.p50),
                duration(s.p99),
                duration(s.max),
                times(ratio(s.p99, v.fair.p99))
            );
        }
    }
    out.push_str("</table></details>\n");
}

fn conditions(out: &mut String, conditions: &[Condition]) {
    out.push_str("<section>\n<h2>Conditions</h2>\n<table>\n<tr><th>run<th>what must hold<th>seen<th></tr>\n");
    for c in conditions {
        let (class, mark) = if c.ok { ("good", "holds") } else { ("bad", "does not hold") };
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td class=\"{class}\">{mark}</tr>",
            escape(&c.run),
            escape(&c.what),
            escape(&c.seen)
        );
    }
    out.push_str("</table>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::super::judge::{Terms, judge};
    use super::super::run::sample_run;
    use super::*;

    fn sample_page() -> String {
        let runs = [sample_run("accounted"), sample_run("classic")];
        let terms = Terms { payload_frames: 262_144, samples: 100, checked: false };
        let conditions: Vec<_> = runs.iter().flat_map(|r| judge(r, terms)).collect();
        let image = Image { path: "x".into(), plain_bytes: 1 << 30, compressed_bytes: 785 };
        page(&Page { runs: &runs, conditions: &conditions, image: &image, format: Format::Bzip2 })
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_from_outside() {
        let page = sample_page();
        assert_eq!(
            page.matches("<svg").count(),
            1 + 4 * 2 + 2,
            "an overview, four victims and the memory of two worlds"
        );
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for outside in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
    }

    #[test]
    fn the_stall_comes_first_and_is_named() {
        let page = sample_page();
        let (classic, accounted) = (page.find("find stalls").unwrap(), page.find("nobody stalls").unwrap());
        assert!(classic < accounted, "the worlds are in their order, not in that of the runs");
        assert!(page.contains("for 60.00 s") && page.contains("grows by 1 GiB"));
        assert!(page.contains("conditions hold</span>"));
    }
}
