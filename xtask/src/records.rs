//! The records that the guest prints (`##SC {json}`), as `docs/experiment.md` defines them.

use serde::Deserialize;

/// One record. Times are guest nanoseconds since boot; memory is in frames of 4096 bytes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "t")]
pub enum Record {
    /// What the guest understood from its boot line.
    #[serde(rename = "meta")]
    Meta {
        /// The world it runs.
        world: String,
        /// The stall it shows.
        stall: String,
        /// Who steps on the bomb.
        trigger: String,
        /// How the payload is compressed.
        format: String,
        /// Frames of the machine.
        #[serde(default)]
        frames: u64,
        /// Frames of the boot reserve.
        #[serde(default)]
        reserve: u64,
    },
    /// A phase begins.
    #[serde(rename = "phase")]
    Phase {
        /// `idle`, `fair` or `attack`.
        name: String,
        /// When.
        start_ns: u64,
    },
    /// Progress within a phase.
    #[serde(rename = "tick")]
    Tick {
        /// When.
        at: u64,
        /// Samples finished in this phase.
        n: u64,
    },
    /// A finished sample.
    #[serde(rename = "s")]
    Sample {
        /// The victim.
        v: String,
        /// Phase number.
        p: usize,
        /// Start.
        at: u64,
        /// Duration.
        d: u64,
        /// What the victim got; 0 is success.
        #[serde(default)]
        e: i64,
    },
    /// A sample that did not finish.
    #[serde(rename = "open")]
    Open {
        /// The victim.
        v: String,
        /// Phase number.
        p: usize,
        /// Start.
        at: u64,
        /// Age when the phase ended.
        d: u64,
    },
    /// Memory by account at one moment.
    #[serde(rename = "m")]
    Memory {
        /// When.
        at: u64,
        /// Account, frames charged, CPU ns used since boot.
        a: Vec<(String, u64, u64)>,
    },
    /// How the attacker fared.
    #[serde(rename = "attacker")]
    Attacker(Attacker),
    /// The exec server's own charge.
    #[serde(rename = "exec")]
    Exec {
        /// Frames when the attack began.
        own_before: u64,
        /// Most frames during it.
        own_peak: u64,
    },
    /// Free frames.
    #[serde(rename = "free")]
    Free {
        /// Before the attacker's account was made.
        before: u64,
        /// After it was destroyed.
        after: u64,
    },
    /// The conservation checker.
    #[serde(rename = "conservation")]
    Conservation {
        /// How often it ran.
        checks: u64,
        /// What it found.
        violations: u64,
    },
    /// A figure of `mode=bench`.
    #[serde(rename = "bench")]
    Bench {
        /// What was measured.
        name: String,
        /// Guest instructions for one.
        #[serde(default)]
        instructions: Option<f64>,
        /// Frames for one.
        #[serde(default)]
        frames: Option<f64>,
    },
    /// The last record.
    #[serde(rename = "end")]
    End {
        /// When.
        #[serde(default)]
        at: u64,
    },
}

/// How the attacker fared.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Attacker {
    /// What its first attempt returned; 0 is success.
    pub result: i64,
    /// CPU time that its account used during the attack.
    pub cpu_ns: u64,
    /// Most frames that its account was charged.
    pub frames_peak: u64,
    /// How often it tried.
    #[serde(default)]
    pub attempts: u64,
    /// Each code that an attempt returned, and how often.
    #[serde(default)]
    pub results: Vec<(i64, u64)>,
    /// The elapsed time that one attempt offers, if it is bounded.
    #[serde(default)]
    pub offer_ns: Option<u64>,
    /// The frames that one attempt offers, if they are bounded.
    #[serde(default)]
    pub offer_frames: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_the_documentation_is_understood() {
        let text = include_str!("../../docs/experiment.md");
        let mut seen = 0;
        for line in text.lines().filter(|l| l.starts_with("##SC ")) {
            let crate::serial::Line::Record(value) = crate::serial::parse(line) else { panic!("{line}") };
            serde_json::from_value::<Record>(value).unwrap_or_else(|e| panic!("{line}: {e}"));
            seen += 1;
        }
        assert!(seen >= 11, "only {seen} example records in docs/experiment.md");
    }

    #[test]
    fn an_unknown_record_is_an_error() {
        assert!(serde_json::from_str::<Record>("{\"t\":\"novel\"}").is_err());
    }
}
