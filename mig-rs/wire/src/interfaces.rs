//! Which interfaces are compared on the wire, and how both compilers compile them. The library and `build.rs` share this file.

use std::path::{Path, PathBuf};

/// How an interface is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Behind the name of the file, where one file is compiled in several ways.
    pub suffix: &'static str,
    /// A macro, with the value 1.
    pub define: Option<&'static str>,
    /// `-imacros`: a file beside the interface.
    pub imacros: Option<&'static str>,
    /// `-prefix`; without it GNU MIG gets one that makes the names of its C unique.
    pub prefix: Option<&'static str>,
    /// `-subrprefix`; `__` if there is none.
    pub subrprefix: Option<&'static str>,
    /// The server's trait translates.
    pub translate: bool,
    /// `import`ed files, and what Rust uses instead.
    pub imports: &'static [(&'static str, &'static str)],
    /// Types of C, and what Rust has for them.
    pub types: &'static [(&'static str, &'static str)],
}

/// As the Hurd's programs are compiled.
const PLAIN: Manner = Manner {
    suffix: "",
    define: None,
    imacros: None,
    prefix: None,
    subrprefix: None,
    translate: false,
    imports: &[],
    types: &[],
};

/// Both kinds of kernels, and what is none.
const EVERYWHERE: [Manner; 3] = [
    PLAIN,
    Manner { suffix: "_kernel_server", define: Some("KERNEL_SERVER"), ..PLAIN },
    Manner { suffix: "_kernel_user", define: Some("KERNEL_USER"), ..PLAIN },
];

/// Ways that are not plain, by file.
fn manners(file: &str) -> &'static [Manner] {
    const NAMES: [Manner; 1] = [Manner { prefix: Some("outer_"), subrprefix: Some("other_"), ..PLAIN }];
    const CALLS: [Manner; 2] = [
        Manner { imports: &[("patience.h", "crate::objects::patience::*")], ..PLAIN },
        Manner {
            suffix: "_interruptible",
            imacros: Some("interruptible.macros"),
            imports: &[("patience.h", "crate::objects::patience::*")],
            ..PLAIN
        },
    ];
    const TRANSLATIONS: [Manner; 3] = {
        let types = &[
            ("near_t", "crate::objects::Near"),
            ("far_t", "crate::objects::Far"),
            ("both_t", "crate::objects::Both"),
        ];
        [
            Manner { translate: true, types, ..PLAIN },
            Manner { translate: true, types, ..EVERYWHERE[1] },
            Manner { translate: true, types, ..EVERYWHERE[2] },
        ]
    };
    match file {
        "memory" | "rights" | "values" => &EVERYWHERE,
        "names" => &NAMES,
        "calls" => &CALLS,
        "translations" => &TRANSLATIONS,
        _ => &[PLAIN],
    }
}

/// An interface that is compared.
#[derive(Clone, Debug)]
pub struct Source {
    /// Of the file, and of the way it is compiled.
    pub name: String,
    /// The definitions.
    pub file: PathBuf,
    /// How.
    pub manner: Manner,
}

impl Source {
    /// The options for mig-rs's preprocessor.
    #[must_use]
    pub fn options(&self, include: Vec<PathBuf>) -> mig_rs::Options {
        mig_rs::Options {
            include,
            define: self.manner.define.map(|name| (name.into(), None)).into_iter().collect(),
            imacros: self.imacros().into_iter().collect(),
            ..mig_rs::Options::default()
        }
    }

    /// The file of macros.
    #[must_use]
    pub fn imacros(&self) -> Option<PathBuf> {
        Some(self.file.with_file_name(self.manner.imacros?))
    }
}

/// Fixtures of this crate, and the workspace's own interfaces, sorted.
pub(crate) fn interfaces(manifest: &Path) -> std::io::Result<Vec<Source>> {
    let mut list = Vec::new();
    for folder in include(manifest) {
        for entry in std::fs::read_dir(folder)? {
            let file = entry?.path();
            let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            // Files of types, and of macros, have no subsystem.
            let whole = file.extension().is_some_and(|e| e == "defs")
                && std::fs::read_to_string(&file)?.to_ascii_lowercase().contains("\nsubsystem ");
            if whole {
                let source = |manner: &Manner| Source {
                    name: format!("{stem}{}", manner.suffix),
                    file: file.clone(),
                    manner: *manner,
                };
                list.extend(manners(&stem).iter().map(source));
            }
        }
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

/// Folders of the interfaces, and of what they include.
pub(crate) fn include(manifest: &Path) -> Vec<PathBuf> {
    vec![manifest.join("defs"), manifest.join("../../libhurd/defs")]
}
