use super::*;
use crate::model::bpf::MapType;

fn ok(bytes: &[u8]) -> BpfListing {
    let (listing, problems) = read("maps.json", bytes);
    assert!(problems.is_empty(), "{problems:?}");
    listing
}

const MAP: &str = r#"{"id":4030,"type":"array","flags":0,"bytes_key":4,"bytes_value":1300,"max_entries":1,"bytes_memlock":1616,"frozen":0,"btf_id":15}"#;

#[test]
fn a_list_one_object_and_concatenated_objects_are_alike() {
    for text in [format!("[{MAP}]"), MAP.to_owned(), format!("{MAP}\n{MAP}"), format!("\u{feff}[{MAP}]\n")] {
        let listing = ok(text.as_bytes());
        assert_eq!(listing.maps[0].memlock, Some(1616), "{text}");
        assert_eq!(&*listing.maps[0].name, "");
        assert_eq!(listing.maps[0].shape.map_type, MapType::Array);
    }
}

#[test]
fn a_prompt_before_the_list_is_skipped() {
    let listing = ok(format!("[root@localhost kmesh]# sudo bpftool map -j\n[{MAP}]").as_bytes());
    assert_eq!(listing.maps.len(), 1);
    let (listing, problems) = read("x", format!("[{MAP}]\n[root@localhost kmesh]# ").as_bytes());
    assert_eq!((listing.maps.len(), problems[0].loss), (1, Loss::Nothing));
}

#[test]
fn negative_sizes_are_of_an_old_bpftool() {
    let listing = ok(&fixed(MAP, "1616", "-1673526984"));
    assert_eq!((listing.maps[0].memlock, listing.maps[0].memlock_wrapped), (Some(2_621_440_312), true));
}

#[test]
fn numbers_may_be_strings_and_types_numbers() {
    let listing = ok(&fixed(&MAP.replace("\"array\"", "33"), "1616", "\"1616\""));
    assert_eq!((listing.maps[0].memlock, listing.maps[0].shape.map_type), (Some(1616), MapType::Arena));
}

fn fixed(text: &str, from: &str, to: &str) -> Vec<u8> {
    text.replace(from, to).into_bytes()
}

#[test]
fn an_error_in_the_list_keeps_the_maps_before_it() {
    let text = format!(r#"[{MAP},{{"error":"can't get next map: Operation not permitted"}}]"#);
    let (listing, problems) = read("maps.json", text.as_bytes());
    assert_eq!(listing.maps.len(), 1);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.contains("Operation not permitted"));
}

#[test]
fn a_file_that_ends_early_keeps_whole_maps_and_names_the_byte() {
    let whole = format!("[{MAP},\n{MAP},\n{MAP}]");
    for end in 2..whole.len() - 1 {
        let (listing, problems) = read("maps.json", &whole.as_bytes()[..end]);
        let expected = whole[..end].matches("\"btf_id\":15}").count();
        assert_eq!(listing.maps.len(), expected, "{end}");
        assert_eq!(problems.len(), 1, "{end} {problems:?}");
        assert!(problems[0].offset_bytes.is_some_and(|at| at <= end as u64), "{end}: {problems:?}");
    }
}

#[test]
fn inner_maps_by_id_or_by_value() {
    let new = r#"[{"key":["0x01","0x00","0x00","0x00"],"value":["0xbe","0x0f","0x00","0x00"],"inner_map_id":4030}]"#;
    let old = r#"[{"key":["0x01","0x00","0x00","0x00"],"value":["0xbe","0x0f","0x00","0x00"]}]"#;
    for text in [new, old] {
        let (listing, _) = read("dir/outer_map.4034.json", text.as_bytes());
        assert_eq!(listing.dumps[0].inner_ids, [4030]);
        assert_eq!(listing.dumps[0].map_id, Some(4034));
        assert_eq!(listing.dumps[0].entries, 1);
    }
}

#[test]
fn dumps_by_name_carry_their_ids() {
    let text = r#"[{"id":8042,"type":"array","name":"km_arr","flags":0,"elements":[{"key":["0x00","0x00","0x00","0x00"],"value":["0x00"],"formatted":{"key":0,"value":{"a":[1,2]}}}]}]"#;
    let listing = ok(text.as_bytes());
    assert_eq!((listing.dumps[0].map_id, listing.dumps[0].entries), (Some(8042), 1));
}

#[test]
fn per_cpu_dumps_tell_the_cpus() {
    let text = r#"[{"key":["0x00"],"values":[{"cpu":0,"value":["0x00"]},{"cpu":1,"value":["0x00"]}]}]"#;
    assert_eq!(ok(text.as_bytes()).dumps[0].cpus, Some(2));
}

#[test]
fn what_is_not_bpftool_is_refused_in_one_line() {
    for text in ["", "hello", "{\"a\":1}", "[1,2,3]", "{\"configs\":[{\"@type\":\"x\"}]}"] {
        let (listing, problems) = read("x", text.as_bytes());
        assert!(listing.maps.is_empty());
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    }
    let (_, problems) = read("x", b"[]");
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn text_and_json_say_the_same() {
    let text = "4029: hash  name km_service  flags 0x1\n\tkey 4B  value 32B  max_entries 1024  memlock 17568B\n\tpinned /sys/fs/bpf/km\n\tpids kmesh-daemon(7)\n4030: array  flags 0x0\n\tkey 4B  value 1300B  max_entries 1  memlock 1616B\n";
    let listing = ok(text.as_bytes());
    assert_eq!(listing.maps.len(), 2);
    assert_eq!(listing.maps[0].memlock, Some(17568));
    assert_eq!(&*listing.maps[0].pinned[0], "/sys/fs/bpf/km");
    assert_eq!(listing.maps[0].holders[0].pid, 7);
    let (listing, problems) = read("x", &text.as_bytes()[..text.len() - 52]);
    assert_eq!((listing.maps.len(), problems.len()), (1, 1), "{problems:?}");
}

#[test]
fn branch_points_of_a_trie() {
    let mut prefixes = Prefixes::default();
    // 60,000 consecutive host addresses: a full binary tree over them has 59,999 inner nodes
    for i in 0..60_000u32 {
        let mut key = 32u32.to_le_bytes().to_vec();
        key.extend((0x0a00_0000 + i).to_be_bytes());
        prefixes.add(&key);
    }
    assert_eq!(prefixes.branch_points(), Some(59_999));
    let mut nested = Prefixes::default();
    for bits in 0..=8u32 {
        let mut key = bits.to_le_bytes().to_vec();
        key.extend([10, 0, 0, 0]);
        nested.add(&key);
    }
    assert_eq!(nested.branch_points(), Some(0));
}
