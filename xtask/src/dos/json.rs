//! `report.json`: the figures, with the keys that `docs/experiment.md` lists.

use super::run::Run;
use super::stats;
use crate::image::{Format, Image};
use serde::Serialize;

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    payload: Payload,
    worlds: Vec<World>,
}

#[derive(Debug, Serialize)]
struct Payload {
    plain_bytes: u64,
    compressed_bytes: u64,
    format: &'static str,
}

#[derive(Debug, Serialize)]
struct World {
    name: &'static str,
    stall: &'static str,
    trigger: &'static str,
    format: &'static str,
    victims: Vec<Victim>,
    attacker: Attacker,
    exec: Exec,
    free_frames_before: Option<u64>,
    free_frames_after: Option<u64>,
    conservation: Conservation,
}

#[derive(Debug, Serialize)]
struct Victim {
    name: String,
    idle_p50_ns: Option<u64>,
    idle_p99_ns: Option<u64>,
    fair_p50_ns: Option<u64>,
    fair_p99_ns: Option<u64>,
    attack_p50_ns: Option<u64>,
    attack_p99_ns: Option<u64>,
    attack_max_ns: Option<u64>,
    samples: usize,
}

#[derive(Debug, Serialize)]
struct Attacker {
    result: Option<i64>,
    cpu_ns: Option<u64>,
    frames_peak: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Exec {
    own_frames_before: Option<u64>,
    own_frames_peak: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Conservation {
    checks: Option<u64>,
    violations: Option<u64>,
}

/// The report of all runs; the payload is that of the first format.
#[must_use]
pub(super) fn report(runs: &[Run], format: Format, image: &Image) -> Report {
    Report {
        payload: Payload {
            plain_bytes: image.plain_bytes,
            compressed_bytes: image.compressed_bytes,
            format: format.name(),
        },
        worlds: runs.iter().map(world).collect(),
    }
}

fn world(run: &Run) -> World {
    let victims = stats::victims(run).into_iter().map(|v| Victim {
        idle_p50_ns: v.idle.p50,
        idle_p99_ns: v.idle.p99,
        fair_p50_ns: v.fair.p50,
        fair_p99_ns: v.fair.p99,
        attack_p50_ns: v.attack.p50,
        attack_p99_ns: v.attack.p99,
        attack_max_ns: v.attack.max,
        samples: v.attack.count,
        name: v.name,
    });
    let attacker = run.attacker.as_ref();
    World {
        name: run.job.world.as_str(),
        stall: run.job.stall.as_str(),
        trigger: run.job.trigger.as_str(),
        format: run.job.format.name(),
        victims: victims.collect(),
        attacker: Attacker {
            result: attacker.map(|a| a.result),
            cpu_ns: attacker.map(|a| a.cpu_ns),
            frames_peak: attacker.map(|a| a.frames_peak),
        },
        exec: Exec { own_frames_before: run.exec.map(|e| e.0), own_frames_peak: run.exec.map(|e| e.1) },
        free_frames_before: run.free.map(|f| f.0),
        free_frames_after: run.free.map(|f| f.1),
        conservation: Conservation {
            checks: run.conservation.map(|c| c.0),
            violations: run.conservation.map(|c| c.1),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::sample_run;
    use super::*;

    #[test]
    fn the_keys_are_the_documented_ones() {
        let image = Image { path: "x".into(), plain_bytes: 1 << 30, compressed_bytes: 785 };
        let runs = [sample_run("classic"), sample_run("accounted")];
        let json = serde_json::to_value(report(&runs, Format::Bzip2, &image)).unwrap();
        assert_eq!(json["payload"]["plain_bytes"], 1 << 30);
        assert_eq!(json["payload"]["compressed_bytes"], 785);
        assert_eq!(json["payload"]["format"], "bzip2");
        assert_eq!(json["worlds"][0]["name"], "classic");
        assert_eq!(json["worlds"][0]["stall"], "a");
        assert_eq!(json["worlds"][0]["victims"][0]["name"], "find");
        assert_eq!(json["worlds"][0]["victims"][0]["attack_max_ns"], 60_000_000_000u64);
        assert_eq!(json["worlds"][1]["attacker"]["result"], 6);
        assert_eq!(json["worlds"][1]["exec"]["own_frames_peak"], 310);
        // Every key that the documentation lists is there, and no other.
        let text = include_str!("../../../docs/experiment.md");
        let block = text.split("## report.json").nth(1).unwrap().split("```").nth(1).unwrap();
        let documented: std::collections::BTreeSet<&str> = block
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|w| !w.is_empty())
            .collect();
        let mut keys = std::collections::BTreeSet::new();
        collect_keys(&json, &mut keys);
        assert_eq!(keys.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), documented);
    }

    fn collect_keys(value: &serde_json::Value, keys: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    keys.insert(key.clone());
                    collect_keys(value, keys);
                }
            }
            serde_json::Value::Array(list) => list.iter().for_each(|v| collect_keys(v, keys)),
            _ => {}
        }
    }
}
