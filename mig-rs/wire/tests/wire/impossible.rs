//! What is not compared, because the C that GNU MIG writes does not compile: each case is compiled here, and must fail as
//! it is known to. mig-rs compiles all of them. When a newer GNU MIG has mended one, it belongs to the fixtures.

use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use mig_rs::{EmitOptions, Options, compile, emit};
use mig_wire::gnu::{Flags, Gnu, Side};
use mig_wire::object;

/// The file, the server's C types that no header has, and what the C compiler says.
const CASES: [(&str, &str, &str); 3] = [
    (
        "rights_few_out",
        "typedef mach_port_t mach_port_copy_send_t; typedef mach_port_t few_ports_t[5];",
        "few",
    ),
    (
        "payload_in_kernel",
        "typedef mach_port_t thing_t; typedef mach_port_t mach_port_copy_send_t; thing_t begin_thing (mach_port_t); thing_t begin_thing_payload (uint64_t);",
        "invalid operands to binary &",
    ),
    ("two_arrays_out", "typedef int64_t some_longs_t[6];", "expected"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("defs/impossible")
}

/// Compiles every case with both compilers, and GNU MIG's C.
pub(crate) fn check(gnu: &Gnu) -> Result<(), Failed> {
    let listed = std::fs::read_dir(folder())?.count();
    if listed != CASES.len() {
        return Err(format!("{listed} files, {} cases", CASES.len()).into());
    }
    for (name, types, complaint) in CASES {
        let file = folder().join(format!("{name}.defs"));
        let options = Options { include: object::include(), ..Options::default() };
        let compiled = compile(&file, &options).map_err(|failure| failure.to_string())?;
        emit(&compiled.subsystem, name, &EmitOptions::default())?;
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("impossible").join(name);
        let flags = Flags { include: object::include(), ..Flags::default() };
        let written = gnu.compile(&file, &flags, Side::Server, &out).map_err(|e| format!("{e:#}"))?;
        let kernel = compiled.subsystem.kernel_server;
        match object::compile_c(gnu, &written.code, types, kernel, &out) {
            Ok(()) => return Err(format!("{name}: GNU MIG's C compiles now").into()),
            Err(error) if format!("{error:#}").contains(complaint) => {}
            Err(error) => return Err(format!("{name}: the C fails otherwise: {error:#}").into()),
        }
    }
    Ok(())
}
