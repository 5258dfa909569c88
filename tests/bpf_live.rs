//! The running kernel as oracle: maps of every type made with bpf(2), entries inserted, `memlock` of
//! `/proc/self/fdinfo` compared to the byte; and a set of maps with inner maps read through `bpftool`.
//!
//! Needs root. Without permission it skips and says why; with CI=true it fails instead.
#![allow(clippy::print_stdout, reason = "a skipped test says why")]
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;

use meshdump::cost::kernel::solve::{Fixed, Known, explains, fit};
use meshdump::cost::kernel::{Header, Profile, Version, kept_max_entries, reported};
use meshdump::evidence::{bpf_btf, bpftool};
use meshdump::findings::bpf::{Options, ParentFrom, report};
use meshdump::model::bpf::{MapType, Shape};

const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const BTF_LOAD: i32 = 18;

fn bpf<T>(command: i32, attr: &mut T) -> Result<i64, std::io::Error> {
    // SAFETY: the kernel reads at most size_of::<T>() bytes of attr, and pointers inside refer to live buffers
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

#[repr(C)]
#[derive(Default)]
struct Create {
    map_type: u32,
    key: u32,
    value: u32,
    max_entries: u32,
    flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
    ifindex: u32,
    btf_fd: u32,
    btf_key: u32,
    btf_value: u32,
    btf_vmlinux_value: u32,
    extra: u64,
}

#[repr(C)]
struct Update {
    fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct LoadBtf {
    btf: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    pad: u32,
}

fn create(shape: &Shape, name: &str, inner: Option<RawFd>, btf: Option<RawFd>) -> Result<OwnedFd, std::io::Error> {
    let mut attr = Create {
        map_type: shape.map_type.number(),
        key: shape.key,
        value: shape.value,
        max_entries: shape.max_entries,
        flags: shape.flags,
        inner_map_fd: inner.unwrap_or(0) as u32,
        extra: shape.extra,
        ..Create::default()
    };
    attr.name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(btf) = btf {
        (attr.btf_fd, attr.btf_key, attr.btf_value) = (btf as u32, 1, 1);
    }
    let fd = bpf(MAP_CREATE, &mut attr)?;
    // SAFETY: the kernel just made this descriptor for us
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// BTF with one 32-bit int, which local storage maps want for key and value.
fn int_btf() -> Result<OwnedFd, std::io::Error> {
    let mut blob: Vec<u8> = Vec::new();
    for word in [0x0001_eb9fu32, 24, 0, 16, 16, 5, 1, 1 << 24, 4, 1 << 24 | 32] {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(b"\0int\0");
    let mut attr =
        LoadBtf { btf: blob.as_ptr() as u64, log: 0, size: blob.len() as u32, log_size: 0, log_level: 0, pad: 0 };
    let fd = bpf(BTF_LOAD, &mut attr)?;
    // SAFETY: the kernel just made this descriptor for us
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn update(fd: &OwnedFd, key: &[u8], value: &[u8]) -> Result<(), std::io::Error> {
    let mut attr = Update {
        fd: fd.as_raw_fd() as u32,
        pad: 0,
        key: if key.is_empty() { 0 } else { key.as_ptr() as u64 },
        value: value.as_ptr() as u64,
        flags: 0,
    };
    bpf(MAP_UPDATE_ELEM, &mut attr).map(|_| ())
}

fn fdinfo(fd: &OwnedFd, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("our own fdinfo");
    let value = text.lines().find_map(|l| l.strip_prefix(line)).expect("a line of fdinfo").trim();
    value.parse().expect("a decimal number")
}

fn map_id(fd: &OwnedFd) -> u32 {
    #[repr(C)]
    struct Info {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0u32; 32];
    let mut attr = Info { fd: fd.as_raw_fd() as u32, len: 128, info: info.as_mut_ptr() as u64 };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).expect("info of our own map");
    info[1]
}

/// True when bpf(2) works here; prints why not, and fails in CI.
fn permitted() -> bool {
    let probe = Shape { map_type: MapType::Array, key: 4, value: 4, max_entries: 1, flags: 0, extra: 0 };
    match create(&probe, "probe", None, None) {
        Ok(_) => true,
        Err(e) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "bpf(2) must work in CI: {e}");
            println!("skipped: no permission for bpf(2): {e}");
            false
        }
    }
}

fn possible_cpus() -> u32 {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").expect("possible CPUs");
    text.trim().rsplit(['-', ',']).next().and_then(|n| n.parse::<u32>().ok()).expect("a CPU number") + 1
}

fn running() -> Version {
    fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release").parse().expect("a version")
}

struct Made {
    shape: Shape,
    live: u64,
    memlock: u64,
}

/// One map: its shape, how many entries to insert. Shapes the kernel refuses are returned as errors.
fn make(shape: Shape, insert: u64, inner: &OwnedFd, btf: &OwnedFd) -> Result<Made, std::io::Error> {
    use MapType as T;
    let storage = matches!(shape.map_type, T::SkStorage | T::TaskStorage | T::InodeStorage | T::CgrpStorage);
    let fd =
        create(&shape, "live", shape.map_type.is_outer().then(|| inner.as_raw_fd()), storage.then(|| btf.as_raw_fd()))?;
    let sockets = matches!(shape.map_type, T::Sockmap | T::Sockhash);
    let listeners: Vec<_> = if sockets {
        (0..insert).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("loopback")).collect()
    } else {
        Vec::new()
    };
    // per-CPU maps take a value per CPU
    let copies = if shape.map_type.is_percpu() { possible_cpus() as usize } else { 1 };
    let mut live = 0;
    for i in 0..insert {
        let mut key = vec![0u8; shape.key as usize];
        let mut value = vec![0u8; (shape.value as usize).next_multiple_of(8) * copies];
        let number = (i as u32).to_le_bytes();
        match shape.map_type {
            T::LpmTrie => {
                key[..4].copy_from_slice(&((shape.key - 4) * 8).to_le_bytes());
                let n = 4.min(key.len() - 4);
                key[4..4 + n].copy_from_slice(&(i as u32).to_be_bytes()[4 - n..]);
            }
            T::Queue | T::Stack | T::BloomFilter => value[..4.min(shape.value as usize)].fill(i as u8),
            _ => key[..4].copy_from_slice(&number),
        }
        match shape.map_type {
            T::ArrayOfMaps | T::HashOfMaps => value[..4].copy_from_slice(&inner.as_raw_fd().to_le_bytes()),
            T::Devmap | T::DevmapHash => value[..4].copy_from_slice(&1u32.to_le_bytes()),
            T::Cpumap => value[..4].copy_from_slice(&64u32.to_le_bytes()),
            T::Sockmap | T::Sockhash => {
                value[..4].copy_from_slice(&listeners[i as usize].as_raw_fd().to_le_bytes());
            }
            _ => {}
        }
        if update(&fd, &key, &value).is_err() {
            break;
        }
        live += 1;
    }
    let shown = fdinfo(&fd, "max_entries:") as u32;
    assert_eq!(u64::from(shown), kept_max_entries(&shape, possible_cpus()), "{shape:?}");
    Ok(Made { shape, live, memlock: fdinfo(&fd, "memlock:") })
}

fn shapes() -> Vec<(Shape, u64)> {
    use MapType as T;
    let shape = |map_type, key, value, max_entries, flags| Shape { map_type, key, value, max_entries, flags, extra: 0 };
    let mut list = Vec::new();
    for n in [1, 3, 100, 1000] {
        for value in [1, 13, 64, 1300] {
            for flags in [0, 1024] {
                list.push((shape(T::Array, 4, value, n, flags), 0));
            }
            list.push((shape(T::PercpuArray, 4, value, n, 0), n.into()));
            list.push((shape(T::Queue, 0, value, n, 0), (n / 2).into()));
            list.push((shape(T::Stack, 0, value, n, 0), (n / 2).into()));
            for key in [4, 5, 20] {
                for flags in [0, 1] {
                    list.push((shape(T::Hash, key, value, n, flags), (n / 2).into()));
                    list.push((shape(T::PercpuHash, key, value, n, flags), (n / 2).into()));
                }
                for flags in [0, 2] {
                    list.push((shape(T::LruHash, key, value, n, flags), (n / 2).into()));
                    list.push((shape(T::LruPercpuHash, key, value, n, flags), 0));
                }
            }
            for key in [8, 20] {
                list.push((shape(T::LpmTrie, key, value, n, 1), (n / 2).into()));
            }
            for extra in [0, 3, 15] {
                list.push((Shape { extra, ..shape(T::BloomFilter, 0, value, n, 0) }, (n / 2).into()));
            }
        }
        for map_type in [T::ProgArray, T::PerfEventArray, T::CgroupArray, T::Xskmap, T::ReuseportSockarray] {
            list.push((shape(map_type, 4, 4, n, 0), 0));
        }
        list.push((shape(T::ArrayOfMaps, 4, 4, n, 0), (n / 2).into()));
        for flags in [0, 1] {
            list.push((shape(T::HashOfMaps, 4, 4, n, flags), (n / 2).into()));
        }
        list.push((shape(T::Sockmap, 4, 4, n, 0), n.min(5).into()));
        list.push((shape(T::Sockhash, 4, 4, n, 0), n.min(5).into()));
        list.push((shape(T::Devmap, 4, 4, n, 0), (n / 2).into()));
        list.push((shape(T::DevmapHash, 4, 4, n, 0), (n / 2).into()));
        list.push((shape(T::Cpumap, 4, 4, n.min(16), 0), 1));
        list.push((shape(T::StackTrace, 4, 1016, n, 0), 0));
        list.push((shape(T::InsnArray, 4, 16, n, 0), 0));
        list.push((shape(T::Rhash, 4, 8, n, 1), (n / 2).into()));
    }
    for size in [4096, 262_144] {
        list.push((shape(T::Ringbuf, 0, 0, size, 0), 0));
        list.push((shape(T::UserRingbuf, 0, 0, size, 0), 0));
    }
    for map_type in [T::SkStorage, T::TaskStorage, T::InodeStorage, T::CgrpStorage] {
        list.push((shape(map_type, 4, 4, 0, 1), 0));
    }
    list.push((shape(T::CgroupStorage, 16, 64, 0, 0), 0));
    list.push((shape(T::PercpuCgroupStorage, 16, 64, 0, 0), 0));
    list.push((shape(T::Arena, 0, 0, 100, 1024), 0));
    list
}

#[test]
fn every_type_of_map_to_the_byte() {
    if !permitted() {
        return;
    }
    let inner_shape = Shape { map_type: MapType::Array, key: 4, value: 1300, max_entries: 1, flags: 0, extra: 0 };
    let inner = create(&inner_shape, "inner", None, None).expect("an array");
    let btf = int_btf().expect("one int");
    let mut made = Vec::new();
    let mut refused: BTreeMap<MapType, String> = BTreeMap::new();
    for (shape, insert) in shapes() {
        match make(shape, insert, &inner, &btf) {
            Ok(map) => made.push(map),
            Err(e) => {
                refused.insert(shape.map_type, e.to_string());
            }
        }
    }
    let version = running();
    for (map_type, error) in &refused {
        let newer = map_type.since().is_some_and(|(major, minor)| Version(major, minor) > version);
        assert!(
            newer || made.iter().all(|m| m.shape.map_type != *map_type),
            "{map_type}: some shapes refused: {error}"
        );
        println!("the kernel refuses {map_type}: {error}");
    }
    let types: std::collections::BTreeSet<_> = made.iter().map(|m| m.shape.map_type).collect();
    assert!(types.len() >= 26, "only {} types could be made", types.len());
    // insertions worked where the number depends on them
    for map_type in [MapType::Hash, MapType::LpmTrie, MapType::HashOfMaps, MapType::Sockhash, MapType::Devmap] {
        assert!(made.iter().any(|m| m.shape.map_type == map_type && m.live > 0), "nothing inserted into {map_type}");
    }

    let base = Profile::builtin(version, possible_cpus());
    let known: Vec<Known> = made
        .iter()
        .map(|m| Known { shape: m.shape, live: Some(m.live), cpus: Some(possible_cpus()), memlock: m.memlock })
        .collect();
    // sizes from the kernel's own BTF where it shows it: then nothing is solved at all
    if let Ok(bytes) = fs::read("/sys/kernel/btf/vmlinux") {
        let names = Header::ALL.map(Header::struct_name);
        let (sizes, problems) = bpf_btf::read("vmlinux", &bytes, &names);
        assert!(problems.is_empty(), "{problems:?}");
        let mut profile = base.clone();
        for (name, bytes) in sizes {
            let header = Header::ALL.into_iter().find(|h| h.struct_name() == name).expect("a name we asked for");
            profile.set_size(header, bytes);
        }
        for m in &made {
            assert_eq!(reported(&profile, &m.shape, m.live), Some(m.memlock), "by BTF: {:?} live {}", m.shape, m.live);
        }
        println!("{} maps of {} types to the byte, sizes from BTF", made.len(), types.len());
    }
    // and every other map solved from the rest of them
    for half in 0..2 {
        let given: Vec<Known> = known.iter().skip(half).step_by(2).cloned().collect();
        let fit = fit(&base, &given, Fixed { cpus: true, ..Fixed::default() });
        assert_eq!(fit.explained, given.len());
        for k in &known {
            assert!(explains(&fit.profile, k), "solved from half {half}: {k:?}");
        }
    }
    println!("{} maps of {} types to the byte, sizes solved from the other half", made.len(), types.len());
}

fn run_bpftool(args: &[&str]) -> Option<Vec<u8>> {
    let output = ["bpftool", "/usr/sbin/bpftool"]
        .iter()
        .find_map(|program| Command::new(program).args(args).output().ok())
        .filter(|output| output.status.success());
    match output {
        Some(output) => Some(output.stdout),
        None => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "bpftool must work in CI");
            println!("skipped: bpftool is not installed or may not run");
            None
        }
    }
}

#[test]
fn inner_maps_of_a_live_set_find_their_outer_map() {
    if !permitted() {
        return;
    }
    let shape = |map_type, key, value, max_entries, flags| Shape { map_type, key, value, max_entries, flags, extra: 0 };
    let inner_shape = shape(MapType::Array, 4, 1300, 1, 0);
    let template = create(&inner_shape, "inner_map", None, None).expect("an array");
    let outer = create(&shape(MapType::ArrayOfMaps, 4, 4, 512, 0), "outer_map", Some(template.as_raw_fd()), None)
        .expect("an array of maps");
    // the descriptors go away as Kmesh 0.2's do: the outer map keeps the inner ones alive
    let mut inner_ids = Vec::new();
    for i in 0..200u32 {
        let inner = create(&inner_shape, "", None, None).expect("an inner map");
        update(&outer, &i.to_le_bytes(), &inner.as_raw_fd().to_le_bytes()).expect("a slot");
        inner_ids.push(map_id(&inner));
    }
    // an unnamed map of another shape that is nobody's inner map
    let stranger = create(&shape(MapType::Array, 4, 77, 1, 0), "", None, None).expect("an array");
    let outer_id = map_id(&outer).to_string();
    let Some(show) = run_bpftool(&["-j", "map", "show"]) else { return };
    let Some(dump) = run_bpftool(&["-j", "map", "dump", "id", &outer_id]) else { return };

    for with_dump in [true, false] {
        let (mut listing, problems) = bpftool::read("maps.json", &show);
        assert!(problems.is_empty(), "{problems:?}");
        // other tests of this file make maps meanwhile, and the machine has its own
        listing.maps.retain(|m| {
            inner_ids.contains(&m.id) || [map_id(&outer), map_id(&template), map_id(&stranger)].contains(&m.id)
        });
        if with_dump {
            // a name that says nothing: ids and key size must do
            let (dumped, problems) = bpftool::read("dump.json", &dump);
            assert!(problems.is_empty(), "{problems:?}");
            listing.dumps = dumped.dumps;
        }
        let report = report(&[listing], Options { cpus: Some(possible_cpus()), kernel: Some(running()), sizes: None });
        let of = |id: u32| report.maps.iter().find(|m| m.id == id).expect("a map of ours");
        for id in &inner_ids {
            let map = of(*id);
            assert_eq!(map.parent, Some(map_id(&outer)), "with_dump {with_dump}");
            assert_eq!(map.parent_from, Some(if with_dump { ParentFrom::Dump } else { ParentFrom::Shape }));
            assert_eq!(map.predicted_memlock, map.memlock);
            assert_eq!(map.real, Some(2056));
            assert_eq!(&*map.owner, "Kmesh");
        }
        assert_eq!(of(map_id(&stranger)).parent, None);
        assert_eq!(of(map_id(&template)).parent, None);
        // reported as the kernel says, each map once
        let once: u64 = report.maps.iter().filter_map(|m| m.memlock).sum();
        assert_eq!(report.totals.memlock, once);
        assert_eq!(report.totals.maps, 203);
    }
}
