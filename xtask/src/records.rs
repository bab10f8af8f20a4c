//! The records that the guest prints (`##SC {json}`); see `docs/experiment.md`.
