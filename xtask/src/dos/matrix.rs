//! Which runs there are: worlds, stalls, triggers and formats.

use crate::image::Format;
use clap::ValueEnum;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
        pub enum $name {
            $($(#[$vdoc])* #[value(name = $word)] $variant),+
        }
        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word of the boot line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}

words! {
    /// Which laws hold.
    World {
        /// Servers own queues and threads and pay for everything.
        #[default]
        Classic = "classic",
        /// Callers pay, without ceilings.
        Charging = "charging",
        /// Callers pay up to what they offered.
        Ceilings = "ceilings",
        /// And no wait is without an owner and a deadline, no call made under a lock.
        Accounted = "accounted",
    }
}

words! {
    /// Which stall is shown.
    Stall {
        /// The untimed STARTING wait of the file system.
        #[default]
        A = "a",
        /// A node lock held across the exec.
        B = "b",
        /// The exec server's decompressor lock.
        C = "c",
    }
}

words! {
    /// Who steps on the bomb first.
    Trigger {
        /// The attacker opens its own node.
        #[default]
        Attacker = "attacker",
        /// A victim's walk.
        Victim = "victim",
    }
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The world.
    pub world: World,
    /// The stall.
    pub stall: Stall,
    /// The trigger.
    pub trigger: Trigger,
    /// The payload's compression.
    pub format: Format,
}

impl Default for Job {
    fn default() -> Self {
        Self { world: World::Classic, stall: Stall::A, trigger: Trigger::Attacker, format: Format::Bzip2 }
    }
}

impl Job {
    /// For people and file names: `classic-a-attacker-bzip2`.
    #[must_use]
    pub fn label(&self) -> String {
        let Self { world, stall, trigger, format } = self;
        format!("{}-{}-{}-{}", world.as_str(), stall.as_str(), trigger.as_str(), format.name())
    }

    /// What the runs that are compared with each other share.
    #[must_use]
    pub fn scene(&self) -> (Stall, Trigger, Format) {
        (self.stall, self.trigger, self.format)
    }

    /// The boot line.
    #[must_use]
    pub fn boot_line(&self, samples: u32, checked: bool) -> String {
        let Self { world, stall, trigger, format } = self;
        let check = if checked { " check=1" } else { "" };
        format!(
            "mode=dos world={} stall={} trigger={} format={} samples={samples}{check}",
            world.as_str(),
            stall.as_str(),
            trigger.as_str(),
            format.name()
        )
    }
}

/// All combinations, scene by scene, so that the worlds of one scene run side by side.
#[must_use]
pub fn jobs(worlds: &[World], stalls: &[Stall], triggers: &[Trigger], formats: &[Format]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &format in formats {
        for &stall in stalls {
            for &trigger in triggers {
                jobs.extend(worlds.iter().map(|&world| Job { world, stall, trigger, format }));
            }
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_runs_both_worlds_side_by_side_for_each_trigger() {
        let jobs = jobs(&[World::Classic, World::Accounted], &[Stall::A], Trigger::ALL, &[Format::Bzip2]);
        let labels: Vec<_> = jobs.iter().map(Job::label).collect();
        assert_eq!(
            labels,
            [
                "classic-a-attacker-bzip2",
                "accounted-a-attacker-bzip2",
                "classic-a-victim-bzip2",
                "accounted-a-victim-bzip2"
            ]
        );
    }

    #[test]
    fn the_boot_line_says_all() {
        let job =
            Job { world: World::Ceilings, stall: Stall::B, trigger: Trigger::Victim, format: Format::Gzip };
        assert_eq!(
            job.boot_line(100, true),
            "mode=dos world=ceilings stall=b trigger=victim format=gzip samples=100 check=1"
        );
    }
}
