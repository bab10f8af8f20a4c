//! A second program to call: a server that is started for a test or a measurement, in a world of its own choice.
//!
//! The peer reports with `fsys_startup` like a translator, so its control port is what gets called.

use core::time::Duration;

use libhurd::abi::startup::INIT_PORT_BOOTSTRAP;
use libhurd::bootstrap::await_translator;
use libhurd::mig::PortName;
use libhurd::port::{ReceiveRight, SendRight};
use libhurd::program::{Child, Program};
use libhurd::{ALL, Offer};

/// How long a peer may take to report.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    /// The program.
    pub child: Child,
    /// Its control port.
    pub control: SendRight,
}

impl Peer {
    /// Starts `words` (the program's path first), with that environment, at the expense of `account` (null: this program's).
    ///
    /// # Errors
    /// Those of starting a program, and of waiting for its report.
    pub fn start(words: &[&[u8]], envz: &[u8], account: PortName) -> Result<Self, i32> {
        let bootstrap = ReceiveRight::new()?;
        let to_bootstrap = bootstrap.send_right()?;
        let child = Program::new(words.first().copied().unwrap_or_default())
            .argv(words.iter().copied())
            .envp(envz)
            .account(account)
            .port(INIT_PORT_BOOTSTRAP, to_bootstrap.name())
            .start(ALL)?;
        drop(to_bootstrap);
        match await_translator(&bootstrap, PATIENCE) {
            Ok(control) => Ok(Self { child, control }),
            Err(code) => {
                // It is of no use without its port.
                let _ = child.kill();
                Err(code)
            }
        }
    }

    /// Ends it, if it has not ended, and waits until proc has forgotten it.
    ///
    /// # Errors
    /// Those of the wait.
    pub fn end(&self) -> Result<(), i32> {
        // It may have died already.
        let _ = self.child.kill();
        self.child.wait(&Offer::all().within(PATIENCE)).map(drop)
    }
}
