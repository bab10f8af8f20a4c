//! ELF plans: real files, hand-made files, and files that lie.

mod common;

use common::*;
use exec_image::elf::{ElfError, Plan, USER_END, header_bytes};
use exec_image::limits::ELF_HEADER_BYTES;
use object::read::elf::{FileHeader, ProgramHeader};
use proptest::prelude::*;

const BASE: u64 = 0x1_0000_0000;

fn plan(file: &[u8]) -> Result<Plan, ElfError> {
    Plan::parse(&file[..file.len().min(ELF_HEADER_BYTES)], BASE)
}

fn edit(change: impl FnOnce(&mut Builder)) -> Result<Plan, ElfError> {
    let mut builder = program();
    change(&mut builder);
    plan(&builder.build())
}

/// What every accepted plan must be.
fn check(plan: &Plan) {
    let segments = plan.segments();
    assert!(!segments.is_empty());
    assert!(segments.iter().any(|s| s.prot & 4 != 0 && (s.vaddr..s.end()).contains(&plan.entry)));
    for s in segments {
        assert!(s.vaddr >= 0x1000 && s.mem_size > 0 && s.file_size <= s.mem_size);
        assert!(s.vaddr.checked_add(s.mem_size).is_some_and(|end| end <= USER_END));
        assert!(s.file_offset.checked_add(s.file_size).is_some());
    }
    for pair in segments.windows(2) {
        assert!(pair[0].vaddr + pair[0].mem_size <= pair[1].vaddr);
    }
    let mappings: Vec<_> = plan.mappings().collect();
    assert!(mappings.len() <= 2 * segments.len());
    for m in &mappings {
        assert!(m.size > 0 && m.start % 4096 == 0 && m.size % 4096 == 0);
        assert!(segments.iter().any(|s| s.vaddr < m.start + m.size && m.start < s.end()));
    }
    for pair in mappings.windows(2) {
        let end = pair[0].start + pair[0].size;
        assert!(end < pair[1].start || (end == pair[1].start && pair[0].prot != pair[1].prot));
    }
    for s in segments {
        // Covered from its first byte to its last, with at least its own rights.
        let mut at = s.vaddr;
        while at < s.end() {
            let m = mappings.iter().find(|m| (m.start..m.start + m.size).contains(&at)).expect("covered");
            assert_eq!(m.prot & s.prot, s.prot);
            at = m.start + m.size;
        }
    }
}

#[test]
fn a_usual_program() {
    let plan = edit(|_| ()).unwrap();
    check(&plan);
    assert_eq!((plan.entry, plan.bias, plan.phdr, plan.phnum), (0x40_1010, 0, Some(0x40_0040), 4));
    assert_eq!((plan.stack.prot, plan.stack.size), (3, 0x4000));
    assert_eq!((plan.file_end(), plan.end()), (0x2740, 0x40_6000));
    let mappings: Vec<_> = plan.mappings().map(|m| (m.start, m.size, m.prot)).collect();
    assert_eq!(mappings, [(0x40_0000, 0x1000, 1), (0x40_1000, 0x2000, 5), (0x40_3000, 0x3000, 3)]);
}

#[test]
fn static_pie_is_moved_as_one() {
    let low = edit(|b| {
        b.kind = DYN;
        for p in &mut b.phdrs[..3] {
            p.vaddr -= 0x40_0000;
        }
        b.entry -= 0x40_0000;
    })
    .unwrap();
    check(&low);
    assert_eq!((low.bias, low.entry, low.phdr), (BASE, BASE + 0x1010, Some(BASE + 0x40)));
    let high = edit(|b| b.kind = DYN).unwrap();
    assert_eq!(high.bias, BASE - 0x40_0000);
    assert_eq!(high.segments(), low.segments());
    // A large alignment moves it up to the next such address, no further.
    let aligned = edit(|b| {
        b.kind = DYN;
        b.phdrs[1].align = 1 << 33;
    })
    .unwrap();
    assert_eq!(aligned.bias, 1 << 33);
    assert_eq!(edit(|b| (b.kind, b.phdrs[1].align) = (DYN, 1 << 63)), Err(ElfError::OutOfRange));
}

#[test]
fn segments_may_share_a_page() {
    let plan = edit(|b| {
        b.phdrs = vec![load(R | X, 0, 0x1000, 0x1800, 0x1800), load(R | W, 0x1900, 0x2900, 0x100, 0x1000)];
        b.entry = 0x1010;
    })
    .unwrap();
    check(&plan);
    let mappings: Vec<_> = plan.mappings().map(|m| (m.start, m.size, m.prot)).collect();
    assert_eq!(mappings, [(0x1000, 0x1000, 5), (0x2000, 0x1000, 7), (0x3000, 0x1000, 3)]);
}

#[test]
fn what_others_accept_is_accepted() {
    // In any order, a segment without file bytes at an odd place, an empty one, write and execute together, no alignment.
    let plan = edit(|b| {
        b.phdrs.swap(0, 2);
        b.phdrs[1].flags |= W;
        b.phdrs[1].align = 0;
        b.phdrs.push(load(R | W, 0x123, 0x50_0000, 0, 0x10));
        b.phdrs.push(load(R, 0, 0, 0, 0));
    })
    .unwrap();
    check(&plan);
    assert_eq!(plan.segments().len(), 4);
    // Up to the very end of user space.
    check(&edit(|b| b.phdrs.push(load(R, 0, USER_END - 0x1000, 0x1000, 0x1000))).unwrap());
    let beyond = edit(|b| b.phdrs.push(load(R, 0, USER_END - 0x1000, 0x1000, 0x1001)));
    assert_eq!(beyond, Err(ElfError::OutOfRange));
}

#[test]
fn every_lie_has_its_name() {
    use ElfError::*;
    type Change = Box<dyn FnOnce(&mut Builder)>;
    let cases: Vec<(ElfError, Change)> = vec![
        (BadType, Box::new(|b| b.kind = 1)),
        (BadType, Box::new(|b| b.kind = 4)),
        (BadMachine, Box::new(|b| b.machine = 183)),
        (BadHeaderSize, Box::new(|b| b.phentsize = 55)),
        (BadHeaderSize, Box::new(|b| b.phentsize = 0)),
        (NoSegments, Box::new(|b| b.phdrs.clear())),
        (NoSegments, Box::new(|b| b.phdrs.drain(..3).for_each(drop))),
        (TooManyHeaders, Box::new(|b| b.phnum = Some(65))),
        (TooManyHeaders, Box::new(|b| b.phnum = Some(0xffff))),
        (HeadersTooFar, Box::new(|b| b.phoff = ELF_HEADER_BYTES as u64 - 55)),
        (DynamicLinking, Box::new(|b| b.phdrs[3].kind = INTERP)),
        (FileLargerThanMemory, Box::new(|b| b.phdrs[0].mem_size = 0x1ff)),
        (FileLargerThanMemory, Box::new(|b| b.phdrs[0].mem_size = 0)),
        (Overflow, Box::new(|b| b.phdrs[0] = load(R, u64::MAX - 0xfff, 0x40_0000, 0x1000, 0x1000))),
        (Overflow, Box::new(|b| b.phdrs[2].mem_size = u64::MAX)),
        (Overflow, Box::new(|b| (b.kind, b.phdrs[2].vaddr) = (DYN, u64::MAX - 0x2dbf))),
        (BadAlignment, Box::new(|b| b.phdrs[0].align = 3)),
        (BadAlignment, Box::new(|b| b.phdrs[1].vaddr += 8)),
        (OutOfRange, Box::new(|b| b.phdrs[0].vaddr = 0)),
        (OutOfRange, Box::new(|b| b.phdrs[2].mem_size = USER_END)),
        (OutOfRange, Box::new(|b| b.phdrs[2].vaddr = 0xffff_8000_0000_0240)),
        (Overlap, Box::new(|b| b.phdrs[0].mem_size = 0x1001)),
        (Overlap, Box::new(|b| b.phdrs[2].vaddr = 0x40_1240)),
        (BadEntry, Box::new(|b| b.entry = 0)),
        (BadEntry, Box::new(|b| b.entry = 0x40_0100)),
        (BadEntry, Box::new(|b| b.entry = 0x40_2234)),
        (BadEntry, Box::new(|b| b.entry = u64::MAX)),
    ];
    for (i, (error, change)) in cases.into_iter().enumerate() {
        assert_eq!(edit(change), Err(error), "case {i}");
    }
    for (at, value, error) in
        [(4, 1, BadClass), (4, 9, BadClass), (5, 2, BadEndianness), (6, 2, BadVersion), (20, 2, BadVersion)]
    {
        let mut file = program().build();
        file[at] = value;
        assert_eq!(plan(&file), Err(error), "byte {at}");
    }
    assert_eq!(ElfError::DynamicLinking.code(), 0x4000_0008);
}

#[test]
fn a_pie_cannot_wrap_around() {
    let file = edit(|b| {
        b.kind = DYN;
        b.phdrs[2].vaddr = USER_END - 0x10_0000 + 0x240;
    });
    assert_eq!(file, Err(ElfError::OutOfRange));
    let builder = Builder { kind: DYN, ..program() };
    for base in [0, USER_END, u64::MAX, u64::MAX - 0xfff] {
        let result = Plan::parse(&builder.build(), base);
        match base {
            0 => check(&result.unwrap()),
            _ => assert!(matches!(result, Err(ElfError::OutOfRange | ElfError::Overflow)), "{result:?}"),
        }
    }
}

#[test]
fn headers_at_the_last_possible_place() {
    let mut builder = program();
    builder.phoff = (ELF_HEADER_BYTES - 4 * 56) as u64;
    let file = builder.build();
    assert_eq!(header_bytes(&file), Ok(ELF_HEADER_BYTES));
    // The second segment holds them.
    assert_eq!(plan(&file).unwrap().phdr, Some(0x40_1000 + builder.phoff - 0x1000));
    builder.phoff += 1;
    assert_eq!(plan(&builder.build()), Err(ElfError::HeadersTooFar));
    // The largest number of headers.
    let mut builder = program();
    builder.phdrs.resize(64, Phdr { kind: 4, ..builder.phdrs[0] });
    check(&plan(&builder.build()).unwrap());
}

#[test]
fn truncated_headers_at_every_length() {
    let file = program().build();
    let need = header_bytes(&file).unwrap();
    assert_eq!(need, 64 + 4 * 56);
    for len in 0..need {
        assert_eq!(Plan::parse(&file[..len], BASE), Err(ElfError::Truncated), "{len}");
        assert!(header_bytes(&file[..len]).unwrap() > len);
    }
    check(&Plan::parse(&file[..need], BASE).unwrap());
}

#[test]
fn every_flipped_bit_of_the_headers() {
    for kind in [EXEC, DYN] {
        let file = Builder { kind, ..program() }.build();
        for bit in 0..8 * header_bytes(&file).unwrap() {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            if let Ok(plan) = plan(&file) {
                check(&plan);
            }
        }
    }
}

/// Compiles a program without libraries; `None` when the compiler cannot do this.
fn compile(args: &[&str]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("p.c"), dir.path().join("p"));
    std::fs::write(
        &source,
        "int zero[5000]; int data[9] = {1,2,3}; int *where = data;\n\
         void _start(void) { for (;;) zero[data[1]] = *where; }\n",
    )
    .unwrap();
    let status = std::process::Command::new("cc")
        .args(["-nostdlib", "-ffreestanding", "-fno-stack-protector", "-o"])
        .arg(&program)
        .arg(&source)
        .args(args)
        .status()
        .expect("the C compiler that also links Rust programs");
    status.success().then(|| std::fs::read(&program).unwrap())
}

#[test]
fn real_programs_agree_with_another_reader() {
    for args in [
        &["-static", "-no-pie"][..],
        &["-static-pie", "-fPIE"],
        &["-static", "-no-pie", "-Wl,-z,noseparate-code"],
    ] {
        let file = compile(args).expect("a program");
        let plan = plan(&file).unwrap();
        check(&plan);
        let endian = object::LittleEndian;
        let header = object::elf::FileHeader64::<object::LittleEndian>::parse(&*file).unwrap();
        let mut theirs: Vec<_> = header
            .program_headers(endian, &*file)
            .unwrap()
            .iter()
            .filter(|p| p.p_type(endian) == object::elf::PT_LOAD)
            .map(|p| {
                (p.p_vaddr(endian) + plan.bias, p.p_offset(endian), p.p_filesz(endian), p.p_memsz(endian))
            })
            .collect();
        theirs.sort_unstable();
        let ours: Vec<_> =
            plan.segments().iter().map(|s| (s.vaddr, s.file_offset, s.file_size, s.mem_size)).collect();
        assert_eq!(ours, theirs, "{args:?}");
        assert_eq!(plan.entry, header.e_entry(endian) + plan.bias);
        assert_eq!(plan.bias == 0, !args.contains(&"-static-pie"));
        assert!(plan.phdr.is_some());
    }
}

#[test]
fn a_dynamically_linked_program_is_refused_by_name() {
    // This very test is one, unless it was linked statically.
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    if cfg!(target_feature = "crt-static") {
        check(&plan(&file).unwrap());
    } else {
        assert_eq!(plan(&file), Err(ElfError::DynamicLinking));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_header_is_too_wild(
        kind in prop_oneof![Just(EXEC), Just(DYN)],
        entry in word(),
        phdrs in proptest::collection::vec((0u32..8, word(), word(), word(), word(), word()), 1..8),
        base in word(),
    ) {
        let phdrs = phdrs
            .into_iter()
            .map(|(flags, offset, vaddr, file_size, mem_size, align)| Phdr { kind: LOAD, flags, offset, vaddr, file_size, mem_size, align })
            .collect();
        let file = Builder::new(kind, entry, phdrs, 0).build();
        if let Ok(plan) = Plan::parse(&file, base) {
            check(&plan);
        }
    }

    #[test]
    fn plausible_headers_are_mostly_taken(
        kind in prop_oneof![Just(EXEC), Just(DYN)],
        parts in proptest::collection::vec((0u32..8, 0u64..3, 0u64..0x1800, 0u64..0x1800, 0u64..0x2800), 1..8),
    ) {
        let mut at = 0x1000;
        let mut phdrs = Vec::new();
        for (flags, gap, offset, file_size, more) in parts {
            let vaddr = at + gap * 0x800;
            let mem_size = file_size + more + 1;
            phdrs.push(load(flags | X, (offset & !0xfff) + vaddr % 0x1000, vaddr, file_size, mem_size));
            at = vaddr + mem_size;
        }
        let file = Builder::new(kind, phdrs[0].vaddr, phdrs, 0).build();
        check(&Plan::parse(&file, BASE).unwrap());
    }

    #[test]
    fn no_bytes_are_too_wild(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0usize..64) {
        let file = program().build();
        let keep = keep.min(bytes.len());
        bytes[..keep].copy_from_slice(&file[..keep]);
        if let Ok(plan) = plan(&bytes) {
            check(&plan);
        }
    }
}

/// Numbers near the edges and small ones.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0u64..8).prop_map(|n| n << 12),
        (0u64..64, 0u64..8192).prop_map(|(bit, less)| (1u64 << bit).wrapping_sub(less)),
        0u64..0x4000,
    ]
}
