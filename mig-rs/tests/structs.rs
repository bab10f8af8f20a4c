//! Structs that travel in messages are laid out as the C libraries and kernels of the Hurd lay them out on x86_64.
//!
//! The golden rows say only how many words a struct has. Offsets of fields are facts of other sources, named beside each
//! table: `gnumach-dev` of Debian trixie, its headers compiled on x86_64 and asked with `offsetof`; the GNU C library's
//! headers for the Hurd, `sysdeps/mach/hurd/bits/{stat,statfs,fcntl,typesizes}.h`, offsets by hand.

use std::collections::BTreeMap;
use std::path::Path;

use mig_rs::model::StructDef;
use mig_rs::{Options, compile};

/// (type, bytes, "field offset" of every field).
type Facts = [(&'static str, u32, &'static str)];

/// gnumach-dev 1.8+git20250702: mach/{host,task,thread,processor}_info.h, mach/{port,time_value}.h.
const MACH: &Facts = &[
    ("host_basic_info_t", 24, "max_cpus 0, avail_cpus 4, memory_size 8, cpu_type 16, cpu_subtype 20"),
    ("host_sched_info_t", 8, "min_timeout 0, min_quantum 4"),
    ("host_load_info_t", 24, "avenrun 0, mach_factor 12"),
    (
        "task_basic_info_t",
        120,
        "suspend_count 0, base_priority 4, virtual_size 8, resident_size 16, user_time 24, system_time 40, \
         creation_time 56, user_time64 72, system_time64 88, creation_time64 104",
    ),
    (
        "task_events_info_t",
        56,
        "faults 0, zero_fills 8, reactivations 16, pageins 24, cow_faults 32, messages_sent 40, messages_received 48",
    ),
    ("task_thread_times_info_t", 64, "user_time 0, system_time 16, user_time64 32, system_time64 48"),
    (
        "thread_basic_info_t",
        128,
        "user_time 0, system_time 16, cpu_usage 32, base_priority 36, cur_priority 40, run_state 44, flags 48, \
         suspend_count 52, sleep_time 56, creation_time 64, user_time64 80, system_time64 96, creation_time64 112",
    ),
    (
        "thread_sched_info_t",
        32,
        "policy 0, data 4, base_priority 8, max_priority 12, cur_priority 16, depressed 20, depress_priority 24, \
         last_processor 28",
    ),
    ("processor_basic_info_t", 20, "cpu_type 0, cpu_subtype 4, running 8, slot_num 12, is_master 16"),
    (
        "processor_set_basic_info_t",
        20,
        "processor_count 0, task_count 4, thread_count 8, load_average 12, mach_factor 16",
    ),
    ("processor_set_sched_info_t", 8, "policies 0, max_priority 4"),
    (
        "mach_port_status_t",
        36,
        "mps_pset 0, mps_seqno 4, mps_mscount 8, mps_qlimit 12, mps_msgcount 16, mps_sorights 20, mps_srights 24, \
         mps_pdrequest 28, mps_nsrequest 32",
    ),
    ("time_value_t", 16, "seconds 0, microseconds 8"),
    ("time_value64_t", 16, "seconds 0, nanoseconds 8"),
];

/// The same package: mach_debug/{vm,slab,hash}_info.h, mach/default_pager_types.h.
const DEBUG: &Facts = &[
    (
        "vm_region_info_t",
        64,
        "vri_start 0, vri_end 8, vri_protection 16, vri_max_protection 20, vri_inheritance 24, vri_wired_count 28, \
         vri_user_wired_count 32, vri_object 40, vri_offset 48, vri_needs_copy 56, vri_sharing 60",
    ),
    (
        "vm_object_info_t",
        96,
        "voi_object 0, voi_pagesize 8, voi_size 16, voi_ref_count 24, voi_resident_page_count 28, \
         voi_absent_count 32, voi_copy 40, voi_shadow 48, voi_shadow_offset 56, voi_paging_offset 64, \
         voi_copy_strategy 72, voi_last_alloc 80, voi_paging_in_progress 88, voi_state 92",
    ),
    (
        "vm_page_info_t",
        32,
        "vpi_offset 0, vpi_phys_addr 8, vpi_wire_count 16, vpi_page_lock 20, vpi_unlock_request 24, vpi_state 28",
    ),
    (
        "vm_page_phys_info_t",
        32,
        "vpi_offset 0, vpi_phys_addr 8, vpi_wire_count 16, vpi_page_lock 20, vpi_unlock_request 24, vpi_state 28",
    ),
    (
        "cache_info_t",
        120,
        "flags 0, cpu_pool_size 8, obj_size 16, align 24, buf_size 32, slab_size 40, bufs_per_slab 48, nr_objs 56, \
         nr_bufs 64, nr_slabs 72, nr_free_slabs 80, name 88",
    ),
    ("hash_info_bucket_t", 4, "hib_count 0"),
    ("default_pager_info_t", 24, "dpi_total_space 0, dpi_free_space 8, dpi_page_size 16"),
    ("default_pager_object_t", 16, "dpo_object 0, dpo_size 8"),
    ("default_pager_page_t", 8, "dpp_offset 0"),
];

/// The C library: stat64, statfs64, flock64 for the Hurd (a file system id has 8 bytes, so 8 spare words in stat64); rusage
/// (resource/bits/types/struct_rusage.h, all words `long`), timespec, winsize. Times in them are two words.
const LIBC: &Facts = &[
    (
        "io_statbuf_t",
        176,
        "st_fstype 0, st_fsid 8, st_ino 16, st_gen 24, st_rdev 32, st_mode 40, st_nlink 48, st_uid 56, st_gid 60, \
         st_size 64, st_atim_sec 72, st_atim_nsec 80, st_mtim_sec 88, st_mtim_nsec 96, st_ctim_sec 104, \
         st_ctim_nsec 112, st_blksize 120, st_blocks 128, st_author 136, st_flags 140, st_spare 144",
    ),
    (
        "fsys_statfsbuf_t",
        112,
        "f_type 0, f_bsize 8, f_blocks 16, f_bfree 24, f_bavail 32, f_files 40, f_ffree 48, f_fsid 56, f_namelen 64, \
         f_favail 72, f_frsize 80, f_flag 88, f_spare 96",
    ),
    ("flock_t", 32, "l_type 0, l_whence 4, l_start 8, l_len 16, l_pid 24"),
    (
        "rusage_t",
        144,
        "ru_utime_sec 0, ru_utime_usec 8, ru_stime_sec 16, ru_stime_usec 24, ru_maxrss 32, ru_ixrss 40, ru_idrss 48, \
         ru_isrss 56, ru_minflt 64, ru_majflt 72, ru_nswap 80, ru_inblock 88, ru_oublock 96, ru_msgsnd 104, \
         ru_msgrcv 112, ru_nsignals 120, ru_nvcsw 128, ru_nivcsw 136",
    ),
    ("timespec_t", 16, "tv_sec 0, tv_nsec 8"),
    ("winsize_t", 8, "ws_row 0, ws_col 2, ws_xpixel 4, ws_ypixel 6"),
];

/// The Hurd's hurd/{hurd_types,ioctl_types,rtc}.h. `procinfo` embeds the structs of task_info.h and thread_info.h.
const HURD: &Facts = &[
    (
        "procinfo_head_t",
        216,
        "state 0, owner 4, ppid 8, pgrp 12, session 16, logincollection 20, exitstatus 24, sigcode 28, nthreads 32, \
         taskinfo 40, taskevents 160",
    ),
    ("procinfo_thread_t", 168, "died 0, rpc_block 4, pis_bi 8, pis_si 136"),
    (
        "srtentry_t",
        40,
        "rt_dest 0, rt_mask 4, rt_gateway 8, rt_flags 12, rt_metric 16, rt_mtu 20, rt_window 24, rt_irtt 28, \
         rt_tos 32, rt_class 36",
    ),
    (
        "rtc_time_t",
        36,
        "tm_sec 0, tm_min 4, tm_hour 8, tm_mday 12, tm_mon 16, tm_year 20, tm_wday 24, tm_yday 28, tm_isdst 32",
    ),
];

fn defs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../libhurd/defs")
}

/// Every struct that any interface defines.
fn structs() -> BTreeMap<String, StructDef> {
    let options = Options { include: vec![defs()], ..Options::default() };
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(defs()).expect("libhurd/defs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "defs") || path.to_string_lossy().ends_with("_types.defs") {
            continue;
        }
        let compiled = compile(&path, &options).unwrap_or_else(|f| panic!("{f}"));
        for def in &compiled.subsystem.structs {
            all.insert(def.name.clone(), StructDef::clone(def));
        }
    }
    all
}

/// `(field, offset)` of every field.
fn offsets(def: &StructDef) -> String {
    let list: Vec<String> = def.fields.iter().map(|f| format!("{} {}", f.name, f.offset)).collect();
    list.join(", ")
}

#[test]
fn fields_are_where_c_has_them() {
    let mut all = structs();
    for (name, size, fields) in [MACH, DEBUG, LIBC, HURD].into_iter().flatten() {
        let def = all.remove(*name).unwrap_or_else(|| panic!("no struct {name}"));
        assert_eq!((def.size, offsets(&def).as_str()), (*size, *fields), "{name}");
    }
    assert!(all.is_empty(), "structs without facts: {:?}", all.keys());
}

/// Offsets say where a field begins; that none is too short or too long shows in what is behind it, except for the last.
#[test]
fn last_fields_end_where_c_ends_them() {
    let all = structs();
    let size = |name: &str, field: &str| {
        all[name].fields.iter().find(|f| f.name == field).map_or(0, |f| f.elem.size())
    };
    assert_eq!(size("io_statbuf_t", "st_spare"), 8 * 4);
    assert_eq!(size("fsys_statfsbuf_t", "f_spare"), 3 * 4);
    assert_eq!(size("flock_t", "l_pid"), 4);
    assert_eq!(size("cache_info_t", "name"), 32);
    assert_eq!(size("host_load_info_t", "mach_factor"), 3 * 4);
    assert_eq!(size("time_value_t", "microseconds"), 4);
}
