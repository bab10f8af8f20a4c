//! Sizes in bytes as people write them: `64MiB`, `1G`, `4096`.

/// Parses a size in bytes; `K`, `M`, `G` with or without `iB` are powers of 1024.
///
/// # Errors
/// A sentence that says which forms are accepted.
pub fn parse(text: &str) -> Result<u64, String> {
    let t = text.trim();
    let digits = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let (number, unit) = t.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(format!("`{text}` is not a size; write bytes (1048576) or a unit (64MiB, 1GiB)")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| format!("`{text}` is not a size; write bytes (1048576) or a unit (64MiB, 1GiB)"))
}

/// A size for people: the largest unit that keeps three digits or fewer before the point.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() < 0.05 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("1G"), Ok(1 << 30));
        assert_eq!(parse("2 kib"), Ok(2048));
        assert!(parse("1TB").is_err());
        assert!(parse("").is_err());
        assert!(parse("99999999999G").is_err(), "an overflow is an error, not a wrap");
    }

    #[test]
    fn sizes_are_shown_in_the_largest_fitting_unit() {
        assert_eq!(human(785), "785 B");
        assert_eq!(human(1 << 30), "1 GiB");
        assert_eq!(human(1_042_069), "1017.6 KiB");
    }
}
