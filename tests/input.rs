//! The input room on files that are well, broken and hostile.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use meshdump::input::{Content, Document, Inputs, Limits, StreamError, collect};
use meshdump::model::problem::{Loss, Problem};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar of plain files; names are written as they are, also those that the crate would refuse.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        builder.append(&header(name, tar::EntryType::Regular, bytes.len() as u64), *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn zip(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Bytes that hardly compress, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

struct Bench {
    dir: TempDir,
    limits: Limits,
}

impl Bench {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), limits: Limits::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn collect(&self, paths: &[&Path]) -> Inputs {
        collect(&paths.iter().map(|p| p.to_path_buf()).collect::<Vec<_>>(), &self.limits)
    }

    /// Writes one file and collects it.
    fn one(&self, name: &str, bytes: &[u8]) -> Inputs {
        let path = self.put(name, bytes);
        self.collect(&[&path])
    }

    /// A label or a text without the temporary folder.
    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }

    fn labels(&self, inputs: &Inputs) -> Vec<String> {
        inputs.documents.iter().map(|d| self.short(d.label())).collect()
    }
}

fn read(document: &Document) -> (Vec<u8>, Option<StreamError>) {
    let (bytes, end) = document.open().unwrap().read_all();
    (bytes.into_owned(), end.err().map(|e| StreamError::of(&e).expect("a stream error").clone()))
}

fn content(document: &Document) -> Vec<u8> {
    let (bytes, error) = read(document);
    assert_eq!(error, None, "{}", document.label());
    bytes
}

#[track_caller]
fn only(problems: &[Problem]) -> &Problem {
    match problems {
        [problem] => problem,
        other => panic!("one problem was expected: {other:#?}"),
    }
}

#[track_caller]
fn no_problems(inputs: &Inputs) {
    assert!(inputs.problems.is_empty(), "{:#?}", inputs.problems);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_plain_file_is_a_slice_whatever_its_size() {
    let bench = Bench::new();
    for len in [1, 65_535, 65_536, 200_000] {
        let bytes = noise(len as u64, len);
        let inputs = bench.one("dump.json", &bytes);
        no_problems(&inputs);
        let document = &inputs.documents[0];
        assert!(matches!(document.open().unwrap(), Content::Slice(slice) if slice == bytes));
        assert_eq!(document.head(), &bytes[..len.min(65_536)]);
        assert_eq!((document.stored_bytes(), document.given(), document.is_compressed()), (len as u64, true, false));
        assert_eq!(document.sha256(), sha256(&bytes));
        assert_eq!(document.folder(), bench.dir.path().to_str().unwrap());
    }
}

#[test]
fn several_gzip_members_are_one_content() {
    let bench = Bench::new();
    let packed = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
    let inputs = bench.one("dump.json.gz", &packed);
    no_problems(&inputs);
    let document = &inputs.documents[0];
    assert_eq!(content(document), b"one two");
    assert_eq!(content(document), b"one two", "opened again");
    assert_eq!(document.head(), b"one two");
    assert!(document.is_compressed());
    assert_eq!((document.stored_bytes(), document.sha256()), (packed.len() as u64, sha256(&packed).as_str()));
}

#[test]
fn gzip_on_gzip_and_zstd_are_taken_off() {
    let bench = Bench::new();
    let zstd = ruzstd::encoding::compress_to_vec(&b"content"[..], ruzstd::encoding::CompressionLevel::Fastest);
    for packed in [gzip(&gzip(b"content")), zstd.clone(), gzip(&zstd)] {
        let inputs = bench.one("a", &packed);
        no_problems(&inputs);
        assert_eq!(content(&inputs.documents[0]), b"content");
    }
}

#[test]
fn a_truncated_gzip_gives_its_beginning_then_the_error() {
    let bench = Bench::new();
    let plain = noise(3, 500_000);
    let mut packed = gzip(&plain);
    packed.truncate(packed.len() / 2);
    let inputs = bench.one("dump.json.gz", &packed);
    no_problems(&inputs);
    let document = &inputs.documents[0];
    let (bytes, error) = read(document);
    assert!(bytes.len() > 200_000 && plain.starts_with(&bytes));
    let error = error.unwrap();
    assert!(matches!(error, StreamError::Truncated { inflated_at, .. } if inflated_at == bytes.len() as u64));
    let problem = document.problem(&error.into());
    assert!(problem.what.starts_with("gzip data ends early: at byte "), "{}", problem.what);
    assert_eq!((problem.loss, problem.offset_bytes), (Loss::Part, Some(bytes.len() as u64)));
}

#[test]
fn a_wrong_checksum_comes_after_all_bytes() {
    let bench = Bench::new();
    let plain = noise(4, 100_000);
    let mut packed = gzip(&plain);
    let crc = packed.len() - 8;
    packed[crc] ^= 1;
    let inputs = bench.one("dump.json.gz", &packed);
    let (bytes, error) = read(&inputs.documents[0]);
    assert!(bytes == plain);
    assert!(error.unwrap().to_string().starts_with("gzip checksum is wrong"));
}

#[test]
fn a_bomb_stops_at_the_limit_and_names_the_flag() {
    let mut bench = Bench::new();
    bench.limits.max_inflated_bytes = 1_000_000;
    for packed in [gzip(&vec![b' '; 50_000_000]), gzip(&gzip(&vec![b' '; 50_000_000]))] {
        let inputs = bench.one("bomb.gz", &packed);
        let (bytes, error) = read(&inputs.documents[0]);
        assert_eq!(bytes.len(), 1_000_000);
        let text = error.unwrap().to_string();
        assert_eq!(text, "inflates to more than the limit of 1000000 bytes (--max-bytes)");
    }
    let packed = gzip(&tar(&[("a", b"first"), ("b", &vec![0; 5_000_000])]));
    let inputs = bench.one("bomb.tar.gz", &packed);
    assert_eq!(bench.labels(&inputs), ["bomb.tar.gz!a"]);
    assert!(only(&inputs.problems).what.contains("--max-bytes"));
    assert!(only(&inputs.problems).what.contains("limit of 1000000 bytes"));
    assert_eq!(only(&inputs.problems).loss, Loss::Part);
}

#[test]
fn tar_and_tar_gz_hold_the_same_members_in_the_order_of_names() {
    let bench = Bench::new();
    let big = noise(5, 300_000);
    let plain = tar(&[("p/ns/pod/memory", b"memory"), ("./p/ns/a/dump", &big), ("top", b""), ("p/ns/pod/dump", b"{}")]);
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    for packed in [plain.clone(), gzip(&plain), gzip(&gzip(&plain)), zstd] {
        let inputs = bench.one("x", &packed);
        no_problems(&inputs);
        assert_eq!(bench.labels(&inputs), ["x!p/ns/a/dump", "x!p/ns/pod/dump", "x!p/ns/pod/memory", "x!top"]);
        let folders: Vec<_> = inputs.documents.iter().map(|d| bench.short(d.folder())).collect();
        assert_eq!(folders, ["x!p/ns/a", "x!p/ns/pod", "x!p/ns/pod", "x"]);
        let contents: Vec<_> = inputs.documents.iter().map(content).collect();
        assert!(contents == [big.as_slice(), b"{}", b"memory", b""]);
        assert!(inputs.documents.iter().all(|d| !d.given() && !d.is_compressed()));
        assert_eq!(inputs.documents[0].sha256(), sha256(&big), "of the member, to match an extracted file");
        assert_eq!(inputs.documents[0].stored_bytes(), 300_000);
        assert!(inputs.documents[3].head().is_empty());
    }
}

#[test]
fn a_tar_without_magic_is_told_by_its_checksum() {
    let mut header = tar::Header::new_old();
    header.set_path("old/dump").unwrap();
    header.set_size(3);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b"old"[..]).unwrap();
    let bench = Bench::new();
    let inputs = bench.one("v7", &builder.into_inner().unwrap());
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), ["v7!old/dump"]);
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/memory", "d".repeat(180));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, &long, &b"g"[..]).unwrap();
    builder.append_pax_extensions([("path", "from/pax".as_bytes()), ("size", b"1")]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("x").unwrap();
    header.set_size(1);
    header.set_cksum();
    builder.append(&header, &b"p"[..]).unwrap();
    let bench = Bench::new();
    let inputs = bench.one("t", &builder.into_inner().unwrap());
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), [format!("t!{long}"), "t!from/pax".to_owned()]);
    assert_eq!(content(&inputs.documents[1]), b"p");
}

#[test]
fn zip_members_are_read_stored_and_deflated() {
    let bench = Bench::new();
    let big = noise(6, 300_000);
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let inputs = bench.one("x.zip", &zip(&[("b/memory", b"memory"), ("a/dump", &big)], method));
        no_problems(&inputs);
        assert_eq!(bench.labels(&inputs), ["x.zip!a/dump", "x.zip!b/memory"]);
        let document = &inputs.documents[0];
        assert!(content(document) == big && content(document) == big);
        assert_eq!(document.head(), &big[..65_536]);
        assert_eq!((document.stored_bytes(), document.sha256()), (300_000, sha256(&big).as_str()));
        let is_slice = matches!(document.open().unwrap(), Content::Slice(_));
        assert_eq!(is_slice, method == zip::CompressionMethod::Stored);
    }
}

#[test]
fn archives_nest() {
    let bench = Bench::new();
    let deflated = zip::CompressionMethod::Deflated;
    let inner = gzip(&tar(&[("dump", b"{}"), ("packed.json.gz", &gzip(b"[]"))]));
    let inputs = bench.one("o.zip", &zip(&[("in.tar.gz", &inner), ("x", b"x")], deflated));
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), ["o.zip!in.tar.gz!dump", "o.zip!in.tar.gz!packed.json.gz", "o.zip!x"]);
    assert_eq!(content(&inputs.documents[1]), b"[]");
    assert!(inputs.documents[1].is_compressed());
    assert_eq!(inputs.documents[1].sha256(), sha256(&gzip(b"[]")));
    assert!(inputs.documents[0].folder().ends_with("o.zip!in.tar.gz"));

    let in_tar = zip(&[("z", b"zipped")], deflated);
    for packed in [tar(&[("a.zip", &in_tar)]), gzip(&tar(&[("a.zip", &in_tar)]))] {
        let inputs = bench.one("o", &packed);
        no_problems(&inputs);
        assert_eq!(bench.labels(&inputs), ["o!a.zip!z"]);
        assert_eq!(content(&inputs.documents[0]), b"zipped");
    }
    let inputs = bench.one("z.zip.gz", &gzip(&in_tar));
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), ["z.zip.gz!z"]);
}

#[test]
fn nesting_has_a_limit() {
    let bench = Bench::new();
    let mut archive = tar(&[("dump", b"{}")]);
    for _ in 0..3 {
        archive = gzip(&tar(&[("in", &archive)]));
    }
    let inputs = bench.one("t", &archive);
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), ["t!in!in!in!dump"]);
    let inputs = bench.one("t", &tar(&[("in", &archive), ("ok", b"{}")]));
    assert_eq!(bench.labels(&inputs), ["t!ok"]);
    let problem = only(&inputs.problems);
    assert_eq!(bench.short(&problem.label), "t!in!in!in!in");
    assert_eq!(problem.what, "is an archive inside more than 3 others; it was not read");
    let inputs = bench.one("g", &(0..4).fold(b"x".to_vec(), |bytes, _| gzip(&bytes)));
    assert_eq!(only(&inputs.problems).what, "is compressed more than 3 times");
}

#[test]
fn entries_have_a_limit_over_all_that_is_nested() {
    let mut bench = Bench::new();
    bench.limits.max_entries = 5;
    let inner = tar(&[("1", b"1"), ("2", b"2"), ("3", b"3")]);
    let inputs = bench.one("t", &tar(&[("a.tar", &inner), ("b.tar", &inner), ("c", b"c")]));
    assert_eq!(bench.labels(&inputs), ["t!a.tar!1", "t!a.tar!2", "t!c"]);
    assert!(
        inputs.problems.iter().all(|p| p.what.starts_with("archive holds more than 5 files") && p.loss == Loss::Part)
    );
    let deflated = zip::CompressionMethod::Deflated;
    let files: Vec<(String, [u8; 1])> = (0..9_u8).map(|i| (i.to_string(), [i])).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
    let inputs = bench.one("z", &zip(&files, deflated));
    assert_eq!(inputs.documents.len(), 5);
    assert_eq!(only(&inputs.problems).what, "archive holds more than 5 files; the rest was not read");
}

#[test]
fn members_too_large_to_hold_are_inflated_again() {
    let mut bench = Bench::new();
    bench.limits.inline_entry_bytes = 1000;
    let (one, two) = (noise(7, 700_000), noise(8, 90_000));
    let nested = gzip(&tar(&[("deep", &two)]));
    let archive = gzip(&tar(&[("one", &one), ("small", b"s"), ("two.gz", &gzip(&two)), ("z.tar.gz", &nested)]));
    let inputs = bench.one("t", &archive);
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), ["t!one", "t!small", "t!two.gz", "t!z.tar.gz!deep"]);
    let [first, _, packed, deep] = &inputs.documents[..] else { panic!() };
    assert!(matches!(first.open().unwrap(), Content::Stream(_)));
    assert!(content(first) == one && content(first) == one);
    assert_eq!(first.head(), &one[..65_536]);
    assert_eq!((first.sha256(), first.stored_bytes()), (sha256(&one).as_str(), 700_000));
    assert!(content(packed) == two && content(packed) == two);
    assert!(two.starts_with(packed.head()) && packed.head().len() > 60_000);
    assert_eq!(packed.sha256(), sha256(&gzip(&two)));
    assert!(content(deep) == two && content(deep) == two);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert!(content(first) == one));
        }
    });
    bench.limits.inline_entry_bytes = 1 << 20;
    bench.limits.max_held_bytes = 150_000;
    let inputs = bench.one("t", &archive);
    no_problems(&inputs);
    assert!(content(&inputs.documents[0]) == one, "what may not be held is inflated again, too");
}

#[test]
fn large_members_far_back_are_held_packed() {
    let mut bench = Bench::new();
    bench.limits.inline_entry_bytes = 1000;
    let (front, text, random) = (noise(1, 2_000_000), b"memory ".repeat(20_000), noise(2, 140_000));
    let archive = gzip(&tar(&[("a", &front), ("b", &text), ("c", &random)]));
    let inputs = bench.one("t", &archive);
    no_problems(&inputs);
    for (document, bytes) in inputs.documents.iter().zip([&front, &text, &random]) {
        assert!(content(document) == *bytes && content(document) == *bytes);
        assert!(matches!(document.open().unwrap(), Content::Stream(_)));
        assert_eq!((document.sha256(), document.stored_bytes()), (sha256(bytes).as_str(), bytes.len() as u64));
        assert_eq!(document.head(), &bytes[..65_536]);
    }
}

#[test]
fn names_that_lead_out_are_labels_only() {
    let bench = Bench::new();
    let plain = tar(&[("../../etc/passwd", b"x"), ("/etc/shadow", b"y"), ("fine", b"z")]);
    for packed in [plain.clone(), gzip(&plain)] {
        let inputs = bench.one("t", &packed);
        assert_eq!(bench.labels(&inputs), ["t!../../etc/passwd", "t!/etc/shadow", "t!fine"]);
        let problem = only(&inputs.problems);
        assert_eq!(problem.loss, Loss::Nothing);
        assert!(problem.what.ends_with(": 2, the first is \"../../etc/passwd\""), "{}", problem.what);
    }
    let inputs = bench.one("z", &zip(&[("../up", b"x")], zip::CompressionMethod::Deflated));
    assert_eq!(bench.labels(&inputs), ["z!../up"]);
    assert_eq!(only(&inputs.problems).loss, Loss::Nothing);
}

#[test]
fn links_and_devices_are_left_out_with_one_line() {
    let bench = Bench::new();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind) in [
        ("sym", tar::EntryType::Symlink),
        ("hard", tar::EntryType::Link),
        ("null", tar::EntryType::Char),
        ("pipe", tar::EntryType::Fifo),
        ("dir/", tar::EntryType::Directory),
    ] {
        let mut header = header(name, kind, 0);
        header.set_link_name("target").unwrap();
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    }
    builder.append(&header("dump", tar::EntryType::Regular, 2), &b"{}"[..]).unwrap();
    let inputs = bench.one("t", &builder.into_inner().unwrap());
    assert_eq!(bench.labels(&inputs), ["t!dump"]);
    let problem = only(&inputs.problems);
    assert_eq!(problem.loss, Loss::Nothing);
    assert_eq!(problem.what, "links, devices and pipes in the archive are not read: 4, the first is \"sym\"");

    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    writer.start_file("dump", SimpleFileOptions::default()).unwrap();
    writer.add_directory("dir", SimpleFileOptions::default()).unwrap();
    let inputs = bench.one("z", &writer.finish().unwrap().into_inner());
    assert_eq!(bench.labels(&inputs), ["z!dump"]);
    assert!(only(&inputs.problems).what.ends_with(": 1, the first is \"link\""));
}

#[test]
fn sparse_files_count_with_their_holes() {
    let mut head = header("sparse", tar::EntryType::GNUSparse, 5);
    {
        let gnu = head.as_gnu_mut().unwrap();
        gnu.set_real_size(100_000);
        gnu.sparse[0].set_offset(50_000);
        gnu.sparse[0].set_length(5);
        gnu.sparse[1].set_offset(100_000);
        gnu.sparse[1].set_length(0);
    }
    head.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&head, &b"hello"[..]).unwrap();
    builder.append(&header("after", tar::EntryType::Regular, 1), &b"a"[..]).unwrap();
    let packed = builder.into_inner().unwrap();
    let mut bench = Bench::new();
    let inputs = bench.one("t", &packed);
    no_problems(&inputs);
    let bytes = content(&inputs.documents[1]);
    assert_eq!((bytes.len(), &bytes[50_000..50_005]), (100_000, &b"hello"[..]));
    bench.limits.inline_entry_bytes = 99_999;
    let inputs = bench.one("t", &packed);
    assert_eq!(bench.labels(&inputs), ["t!after"]);
    assert!(only(&inputs.problems).what.starts_with("is a sparse file of 100000 bytes"));
}

/// Writes `value` over the field at `local` of the local header and at `central` of the directory entry.
fn patch(zip: &mut [u8], local: usize, central: usize, value: u32) {
    let directory = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    zip[local..local + 4].copy_from_slice(&value.to_le_bytes());
    zip[directory + central..directory + central + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_zip_that_lies_about_sizes_is_read_and_called_out() {
    let mut bench = Bench::new();
    let plain = noise(9, 100_000);
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        for lie in [10, 2_000_000_000] {
            let mut packed = zip(&[("dump", &plain)], method);
            patch(&mut packed, 22, 24, lie);
            let inputs = bench.one("z", &packed);
            let (bytes, error) = read(&inputs.documents[0]);
            assert!(bytes == plain);
            let text = error.unwrap().to_string();
            assert_eq!(text, format!("zip header declares {lie} bytes but the member holds 100000"));
        }
    }
    let mut packed = zip(&[("dump", &vec![b' '; 10_000_000])], zip::CompressionMethod::Deflated);
    patch(&mut packed, 22, 24, 10);
    bench.limits.max_inflated_bytes = 1_000_000;
    let (bytes, error) = read(&bench.one("z", &packed).documents[0]);
    assert_eq!((bytes.len(), error), (1_000_000, Some(StreamError::Limit { max_bytes: 1_000_000 })));

    let mut packed = zip(&[("dump", &plain)], zip::CompressionMethod::Deflated);
    patch(&mut packed, 18, 20, 2_000_000_000);
    let inputs = bench.one("z", &packed);
    assert!(inputs.documents.is_empty());
    assert!(only(&inputs.problems).what.contains("2000000000 packed bytes"), "{:?}", inputs.problems);

    let mut packed = zip(&[("dump", &plain)], zip::CompressionMethod::Stored);
    patch(&mut packed, 14, 16, 1);
    let (bytes, error) = read(&bench.one("z", &packed).documents[0]);
    assert!(bytes == plain && matches!(error, Some(StreamError::Checksum { .. })));
}

#[test]
fn overlapping_zip_members_are_refused() {
    let bench = Bench::new();
    let mut packed = zip(&[("aaaa", &noise(1, 500)), ("bbbb", &noise(2, 500))], zip::CompressionMethod::Deflated);
    // The second directory entry is pointed at the first member.
    let directory = packed.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    packed[directory + 42..directory + 46].fill(0);
    let inputs = bench.one("z", &packed);
    assert!(inputs.documents.is_empty());
    assert_eq!(only(&inputs.problems).what, "members of the zip overlap, as in a zip bomb; it was not read");
    assert_eq!(only(&inputs.problems).loss, Loss::Whole);
}

#[test]
fn a_zip_without_its_end_is_read_from_the_front() {
    let bench = Bench::new();
    let (one, two) = (noise(1, 9000), noise(2, 9000));
    let packed = zip(&[("one", &one), ("two", &two)], zip::CompressionMethod::Deflated);
    let directory = packed.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let inputs = bench.one("z", &packed[..directory + 20]);
    assert_eq!(bench.labels(&inputs), ["z!one", "z!two"]);
    assert!(content(&inputs.documents[1]) == two);
    assert_eq!(only(&inputs.problems).loss, Loss::Part);
    assert_eq!(only(&inputs.problems).offset_bytes, Some(directory as u64));
    let inputs = bench.one("z", &packed[..12_000]);
    assert_eq!(bench.labels(&inputs), ["z!one"]);
    assert!(content(&inputs.documents[0]) == one);

    // As a writer to a pipe leaves it: the sizes follow the data.
    let mut writer = zip::ZipWriter::new_stream(Vec::new());
    for (name, bytes) in [("one", &one), ("two", &two)] {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    let streamed = writer.finish().unwrap().into_inner();
    let whole = bench.one("z", &streamed);
    no_problems(&whole);
    assert!(content(&whole.documents[1]) == two);
    let directory = streamed.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let inputs = bench.one("z", &streamed[..directory]);
    assert_eq!(bench.labels(&inputs), ["z!one", "z!two"]);
    assert!(content(&inputs.documents[0]) == one && content(&inputs.documents[1]) == two);
}

#[test]
fn a_truncated_archive_gives_what_was_whole_before() {
    let bench = Bench::new();
    let files: Vec<_> = (0..5).map(|i| (format!("f{i}"), noise(i, 100_000))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
    let plain = tar(&files);
    let packed = gzip(&plain);
    let inputs = bench.one("t.tar.gz", &packed[..packed.len() / 2]);
    assert_eq!(bench.labels(&inputs), ["t.tar.gz!f0", "t.tar.gz!f1"]);
    assert!(content(&inputs.documents[1]) == files[1].1);
    let problem = only(&inputs.problems);
    assert_eq!(problem.loss, Loss::Part);
    assert!(problem.what.starts_with("gzip data ends early: at byte "), "{}", problem.what);
    assert!(problem.what.contains("\"f2\" has ") && problem.offset_bytes.is_some(), "{}", problem.what);

    let inputs = bench.one("t.tar", &plain[..plain.len() / 2]);
    assert_eq!(bench.labels(&inputs), ["t.tar!f0", "t.tar!f1"]);
    let problem = only(&inputs.problems);
    assert!(problem.what.starts_with("archive ends early, at byte "), "{}", problem.what);

    let mut damaged = plain.clone();
    damaged[100_864] ^= 0xff; // the first byte of the second header
    let inputs = bench.one("t.tar", &damaged);
    assert_eq!(bench.labels(&inputs), ["t.tar!f0"]);
    assert!(only(&inputs.problems).what.starts_with("found something that is not a tar header"));
    assert_eq!(only(&inputs.problems).offset_bytes, Some(100_864));

    let mut damaged = packed;
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    let inputs = bench.one("t.tar.gz", &damaged);
    assert_eq!(inputs.documents.len(), 5);
    assert!(only(&inputs.problems).what.starts_with("gzip checksum is wrong"));
}

#[test]
fn what_follows_the_end_of_an_archive_is_said() {
    let bench = Bench::new();
    let two = [tar(&[("a", b"a")]), tar(&[("b", b"b")])].concat();
    for packed in [two.clone(), gzip(&two)] {
        let inputs = bench.one("t", &packed);
        assert_eq!(bench.labels(&inputs), ["t!a"]);
        assert!(only(&inputs.problems).what.starts_with("more follows after the end of the archive"));
    }
    let trailing = [gzip(&tar(&[("a", b"a")])), b"garbage".to_vec()].concat();
    let inputs = bench.one("t", &trailing);
    assert_eq!(bench.labels(&inputs), ["t!a"]);
    assert_eq!(only(&inputs.problems).loss, Loss::Nothing);
}

#[test]
fn a_directory_is_walked_in_the_order_of_names() {
    let bench = Bench::new();
    for name in ["d/b/dump", "d/a.json", "d/b.json", "d/B/x", "d/z.tar"] {
        bench.put(name, if name.ends_with("tar") { tar(&[("m", b"m")]) } else { name.into() }.as_slice());
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(bench.path("d/b"), bench.path("d/linked")).unwrap();
        std::os::unix::fs::symlink(bench.path("d/a.json"), bench.path("d/file-link")).unwrap();
    }
    let given = bench.put("given.json", b"{}");
    let inputs = bench.collect(&[&given, &bench.path("d")]);
    let expected = ["given.json", "d/B/x", "d/a.json", "d/b/dump", "d/b.json", "d/z.tar!m"];
    assert_eq!(bench.labels(&inputs), expected);
    let flags: Vec<_> = inputs.documents.iter().map(Document::given).collect();
    assert_eq!(flags, [true, false, false, false, false, false]);
    assert!(inputs.documents[3].folder().ends_with("/d/b"));
    #[cfg(unix)]
    {
        let problem = only(&inputs.problems);
        assert!(problem.what.starts_with("symbolic links inside a directory are not followed: 2"));
        let inputs = bench.collect(&[&bench.path("d/file-link"), &bench.path("d/linked")]);
        no_problems(&inputs);
        assert_eq!(bench.labels(&inputs), ["d/file-link", "d/linked/dump"], "followed when named");
    }
}

#[test]
fn missing_empty_and_unreadable_inputs_are_problems() {
    let bench = Bench::new();
    let inputs = bench.collect(&[&bench.path("missing")]);
    let problem = only(&inputs.problems);
    assert_eq!((problem.what.as_str(), problem.loss), ("no such file or directory", Loss::Whole));
    assert!(!problem.hint.is_empty());

    fs::create_dir_all(bench.path("empty/below")).unwrap();
    let inputs = bench.collect(&[&bench.path("empty")]);
    assert_eq!(only(&inputs.problems).what, "directory holds no files");

    let inputs = bench.one("nothing", b"");
    no_problems(&inputs);
    let document = &inputs.documents[0];
    assert!(document.head().is_empty() && document.stored_bytes() == 0 && content(document).is_empty());

    let inputs = bench.one("t", &tar(&[]));
    assert_eq!(inputs.documents.len(), 1, "a file of zeros is no archive");
    let inputs = bench.one("z", &zip(&[], zip::CompressionMethod::Stored));
    assert_eq!(only(&inputs.problems).what, "archive holds no files");
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_when_given_and_left_alone_in_a_directory() {
    let bench = Bench::new();
    let pipe = bench.path("pipe");
    if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success()) {
        return;
    }
    bench.put("x", b"x");
    let inputs = bench.collect(&[bench.dir.path()]);
    assert_eq!(bench.labels(&inputs), ["x"]);
    assert!(only(&inputs.problems).what.starts_with("pipes, sockets and devices are not read: 1"));
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, gzip(&tar(&[("m", b"piped")]))).unwrap()
    });
    let inputs = bench.collect(&[&pipe]);
    writer.join().unwrap();
    no_problems(&inputs);
    assert_eq!(bench.labels(&inputs), ["pipe!m"]);
}

#[test]
fn memory_for_inputs_without_a_file_has_a_limit() {
    let mut bench = Bench::new();
    bench.limits.max_held_bytes = 1000;
    let inputs = bench.one("small", &noise(1, 5000));
    no_problems(&inputs);
    assert_eq!(content(&inputs.documents[0]).len(), 5000, "mapped instead");
    let zip = zip(&[("a", &noise(1, 5000))], zip::CompressionMethod::Deflated);
    let inputs = bench.one("z.zip.gz", &gzip(&zip));
    assert!(inputs.documents.is_empty());
    assert!(only(&inputs.problems).what.starts_with("is a zip inside compressed data"));
}

fn sample() -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let files: Vec<_> = (0..6_usize).map(|i| (format!("f{i}"), noise(i as u64, 40 + i * 700))).collect();
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
    let packed = gzip(&tar(&borrowed));
    (files, packed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_truncation_gives_a_prefix_of_the_members(cut in 0.0..1.0_f64, inline in prop::sample::select(vec![0_u64, 1000, 1 << 20])) {
        let (files, packed) = sample();
        let mut bench = Bench::new();
        bench.limits.inline_entry_bytes = inline;
        let inputs = bench.one("t", &packed[..(packed.len() as f64 * cut) as usize]);
        let members: Vec<_> = inputs.documents.iter().filter(|d| d.label().contains("!f")).collect();
        prop_assert!(members.len() <= files.len());
        for (member, (name, bytes)) in members.iter().zip(&files) {
            let ending = format!("!{name}");
            prop_assert!(member.label().ends_with(&ending));
            // The stream below a member that is inflated again may not be asked beyond the member.
            prop_assert_eq!(&content(member), bytes);
        }
        prop_assert!(!inputs.problems.is_empty() || inputs.documents.iter().any(|d| !d.label().contains("!f")));
    }

    #[test]
    fn flipped_bytes_never_panic(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), form in 0..4) {
        let (files, packed) = sample();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        let mut bytes = match form {
            0 => packed,
            1 => tar(&files),
            2 => zip(&files, zip::CompressionMethod::Deflated),
            _ => ruzstd::encoding::compress_to_vec(&tar(&files)[..], ruzstd::encoding::CompressionLevel::Fastest),
        };
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let mut bench = Bench::new();
        bench.limits.max_inflated_bytes = 10 << 20;
        let inputs = bench.one("t", &bytes);
        for document in &inputs.documents {
            document.head();
            document.sha256();
            if let Ok(Content::Stream(mut stream)) = document.open() {
                let mut out = Vec::new();
                // Whatever it says, it says again.
                if stream.read_to_end(&mut out).is_err() {
                    prop_assert!(stream.read(&mut [0; 16]).is_err());
                }
            }
        }
    }
}
