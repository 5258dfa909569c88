//! `/memory`.

use super::{Small, value};
use crate::evidence::json::message::Num;
use crate::model::envoy::Memory;
use crate::model::problem::{Loss, Problem};

/// Reads `/memory` (Envoy `memory.proto`, where every number is a string).
///
/// `None` without `allocated`, and when it is 0: then Envoy was built without an allocator that counts, and all the
/// other fields say nothing either. `label` is used in problems; all values are bytes.
pub fn read(label: &str, text: &[u8]) -> (Option<Memory>, Vec<Problem>) {
    let mut problems = Vec::new();
    let Some(small) = Small::find(label, "/memory", text, &mut problems) else { return (None, problems) };
    let mut allocated = None;
    let mut m = Memory::default();
    small.fields(label, &mut problems, |f| {
        let slot = match f.key {
            b"allocated" => &mut allocated,
            b"heap_size" | b"heapSize" => &mut m.heap_size,
            b"pageheap_unmapped" | b"pageheapUnmapped" => &mut m.pageheap_unmapped,
            b"pageheap_free" | b"pageheapFree" => &mut m.pageheap_free,
            b"total_thread_cache" | b"totalThreadCache" => &mut m.total_thread_cache,
            b"total_physical_bytes" | b"totalPhysicalBytes" => &mut m.physical,
            _ => return,
        };
        *slot = value::<Num>(f).as_u64();
    });
    match allocated {
        Some(0) => {
            problems.push(
                Problem::new(label, Loss::Whole, "/memory says that 0 bytes are allocated: this Envoy does not count")
                    .hint("it was built without tcmalloc; give the process's resident memory instead"),
            );
            (None, problems)
        }
        Some(allocated) => (Some(Memory { allocated, ..m }), problems),
        None => {
            problems.push(Problem::new(label, Loss::Whole, "not /memory: no number under `allocated`").at(0));
            (None, problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_numbers_and_missing_fields() {
        let text = br#"{
 "allocated": "13815120",
 "heap_size": 19922944,
 "pageheapFree": "2310144"
}"#;
        let (m, problems) = read("memory", text);
        let m = m.unwrap();
        assert_eq!((m.allocated, m.heap_size, m.pageheap_free), (13_815_120, Some(19_922_944), Some(2_310_144)));
        assert_eq!((m.pageheap_unmapped, m.physical), (None, None));
        assert!(problems.is_empty());
    }

    #[test]
    fn a_log_line_in_front() {
        let text = b"2026/10/08 19:59:34 INFO {x} GOMEMLIMIT is already set\n{\n \"allocated\": \"5\"\n}\n";
        let (m, problems) = read("memory", text);
        assert_eq!(m.unwrap().allocated, 5);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].loss, Loss::Nothing);
    }

    #[test]
    fn a_cut_number_is_not_a_number() {
        let (m, problems) = read("memory", b"{\"allocated\": \"77\", \"heap_size\": 199");
        assert_eq!(m, Some(Memory { allocated: 77, ..Memory::default() }));
        assert_eq!((problems[0].loss, problems[0].offset_bytes), (Loss::Part, Some(36)));
        let (m, problems) = read("memory", b"{\"allocated\": \"77");
        assert_eq!(m, None);
        assert!(problems.iter().any(|p| p.loss == Loss::Whole));
    }

    #[test]
    fn no_prefix_gives_a_wrong_number() {
        let text = br#"{"allocated": 138, "heap_size": "199", "total_physical_bytes": 225}"#;
        let whole = read("memory", text).0.unwrap();
        for cut in 0..text.len() {
            let (m, problems) = read("memory", &text[..cut]);
            assert!(!problems.is_empty());
            let Some(m) = m else { continue };
            assert_eq!(m.allocated, 138);
            assert!(m.heap_size.is_none_or(|v| Some(v) == whole.heap_size));
            assert!(m.physical.is_none_or(|v| Some(v) == whole.physical));
        }
    }

    #[test]
    fn garbage_and_zeros() {
        for text in ["", "no JSON", "{}", "null", "[1]", r#"{"allocated":"0","heap_size":"0"}"#, r#"{"allocated":[]}"#]
        {
            let (m, problems) = read("memory", text.as_bytes());
            assert_eq!(m, None, "{text}");
            assert_eq!(problems.iter().filter(|p| p.loss == Loss::Whole).count(), 1, "{text}");
        }
    }

    #[test]
    fn utf16() {
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend("{\"allocated\": \"12\"}".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(read("memory", &bytes).0.unwrap().allocated, 12);
    }
}
