//! Numbers for random definitions, and the damage that they do.

/// A small generator of numbers, so that every run sees the same cases.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() as usize) % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// One word too many, too few, or another one.
pub(crate) fn damage(text: &str, numbers: &mut Numbers) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match is_word(first) {
            true => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        words.push(&rest[..length]);
        rest = &rest[length..];
    }
    let solid: Vec<usize> = (0..words.len()).filter(|&i| !words[i].trim().is_empty()).collect();
    let (at, other) = (solid[numbers.below(solid.len())], solid[numbers.below(solid.len())]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    match numbers.below(4) {
        0 => words[at] = " ".into(),
        1 => words[at] = format!("{0} {0}", words[at]),
        2 => words.swap(at, other),
        _ => {
            words[at] = numbers
                .pick(&[
                    " ; ",
                    " , ",
                    " : ",
                    " ( ",
                    " ) ",
                    " [ ",
                    " ] ",
                    " * ",
                    " ^ ",
                    " | ",
                    " = ",
                    " { ",
                    " } ",
                    " array ",
                    " struct ",
                    " of ",
                    " type ",
                    " routine ",
                    " in ",
                    " out ",
                    " inout ",
                    " int ",
                    " 0 ",
                    " 7 ",
                    " 4294967296 ",
                    " dealloc ",
                    " skip ",
                    " c_string ",
                    " MACH_MSG_TYPE_MOVE_SEND ",
                    " polymorphic ",
                    " replyport ",
                    " < ",
                    " \"x\" ",
                    " - ",
                    " requestport ",
                    " 0x10 ",
                ])
                .into();
        }
    }
    words.concat()
}
