//! What somebody may have meant.

/// Edit distance, for suggestions; long words count as far.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 || a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(corner + usize::from(x != y));
            corner = above;
        }
    }
    row[b.len()]
}

/// The word of a list that is the same, or nearly.
pub(crate) fn near(word: &str, list: &[&'static str]) -> Option<&'static str> {
    let far = if word.len() > 4 { 2 } else { 1 };
    let best = list.iter().map(|known| (distance(known, word), *known)).min()?;
    (best.0 <= far).then_some(best.1)
}
