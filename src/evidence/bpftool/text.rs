//! Plain text, as bug reports and sysdumps carry it.

use crate::model::bpf::{BpfListing, BpfMap, BpfProg, Holder, MapDump, MapType, Shape};
use crate::model::problem::{Loss, Problem};

/// `20: hash  name cilium_node_map  flags 0x1`
pub(super) fn is_map_head(line: &str) -> bool {
    head(line).is_some_and(|(_, rest)| {
        rest.split_whitespace().next().is_some_and(|t| MapType::from_name(t).is_some()) && rest.contains("flags ")
    })
}

fn head(line: &str) -> Option<(u32, &str)> {
    let (id, rest) = line.split_once(':')?;
    Some((id.parse().ok()?, rest.trim()))
}

pub(super) fn read(label: &str, bytes: &[u8], listing: &mut BpfListing, problems: &mut Vec<Problem>) {
    let text = String::from_utf8_lossy(bytes);
    listing.is_list = true;
    let mut offset = 0u64;
    let mut current = Current::None;
    let mut dump: Option<MapDump> = None;
    let mut unsized_maps = 0u64;
    for line in text.split_inclusive('\n') {
        let at = offset;
        offset += line.len() as u64;
        let line = line.trim_end();
        if let Some(error) = line.strip_prefix("Error: ") {
            problems.push(Problem::new(label, Loss::Part, format!("bpftool says: {}", printable(error))).at(at));
            continue;
        }
        if let Some((id, rest)) = head(line) {
            let mut words = rest.split_whitespace();
            let kind = words.next().unwrap_or("");
            let fields = Fields::of(rest);
            let name = fields.get("name").unwrap_or("").into();
            if is_map_head(line) {
                let flags = fields.get("flags").and_then(|f| u32::from_str_radix(f.trim_start_matches("0x"), 16).ok());
                let map_type = MapType::from_name(kind).unwrap_or(MapType::Unknown(0));
                listing.maps.push(BpfMap {
                    id,
                    name,
                    shape: Shape { map_type, key: 0, value: 0, max_entries: 0, flags: flags.unwrap_or(0), extra: 0 },
                    memlock: None,
                    memlock_wrapped: false,
                    pinned: Vec::new(),
                    holders: Vec::new(),
                });
                current = Current::Map;
            } else if rest.contains("tag ") {
                listing.progs.push(BpfProg {
                    id,
                    prog_type: kind.into(),
                    name,
                    map_ids: Vec::new(),
                    memlock: None,
                    pinned: Vec::new(),
                    holders: Vec::new(),
                });
                current = Current::Prog;
            }
            continue;
        }
        if line.starts_with("key:") || line.starts_with("Found ") {
            let dump = dump.get_or_insert_default();
            if let Some(count) = line.strip_prefix("Found ").and_then(|l| l.split(' ').next()) {
                dump.entries = count.parse().unwrap_or(dump.entries);
            } else {
                dump.entries += 1;
                let id = line.split("inner_map_id:").nth(1).or_else(|| line.split("inner_map_id ").nth(1));
                dump.inner_ids.extend(id.and_then(|id| id.split_whitespace().next()?.parse::<u32>().ok()));
            }
            continue;
        }
        let trimmed = line.trim_start();
        if trimmed.len() == line.len() {
            continue;
        }
        match current {
            Current::None => {}
            Current::Map => {
                let Some(map) = listing.maps.last_mut() else { continue };
                let fields = Fields::of(trimmed);
                if let Some(key) = fields.bytes("key") {
                    map.shape.key = key as u32;
                    map.shape.value = fields.bytes("value").unwrap_or(0) as u32;
                    map.shape.max_entries = fields.bytes("max_entries").unwrap_or(0) as u32;
                    map.shape.extra = fields.get("map_extra").and_then(hex).unwrap_or(0);
                    if let Some(negative) = fields
                        .get("memlock")
                        .and_then(|m| m.trim_end_matches('B').parse::<i64>().ok())
                        .filter(|n| *n < 0)
                    {
                        map.memlock = u64::try_from(negative + (1 << 32)).ok();
                        map.memlock_wrapped = true;
                    } else {
                        map.memlock = fields.bytes("memlock");
                    }
                    unsized_maps += u64::from(map.memlock.is_none());
                } else if let Some(path) = trimmed.strip_prefix("pinned ") {
                    map.pinned.push(path.into());
                    map.pinned.sort_unstable();
                } else if let Some(pids) = trimmed.strip_prefix("pids ") {
                    map.holders = holders(pids);
                }
            }
            Current::Prog => {
                let Some(prog) = listing.progs.last_mut() else { continue };
                let fields = Fields::of(trimmed);
                if let Some(memlock) = fields.bytes("memlock") {
                    prog.memlock = Some(memlock);
                }
                if let Some(ids) = fields.get("map_ids") {
                    prog.map_ids = ids.split(',').filter_map(|id| id.parse().ok()).collect();
                }
                if let Some(path) = trimmed.strip_prefix("pinned ") {
                    prog.pinned.push(path.into());
                } else if let Some(pids) = trimmed.strip_prefix("pids ") {
                    prog.holders = holders(pids);
                }
            }
        }
    }
    listing.dumps.extend(dump);
    // a head without its second line: the text was cut
    let cut = listing
        .maps
        .iter()
        .filter(|m| m.memlock.is_none() && m.shape.max_entries == 0 && m.shape.key == 0 && m.shape.value == 0)
        .count();
    if cut > 0 {
        listing.maps.retain(|m| m.memlock.is_some() || m.shape.max_entries != 0 || m.shape.key != 0);
        problems.push(
            Problem::new(label, Loss::Part, format!("{cut} maps have no sizes: the text was cut"))
                .at(bytes.len() as u64)
                .hint("take it again with `bpftool map show -j`"),
        );
    }
    if unsized_maps > 0 {
        problems.push(Problem::new(label, Loss::Part, format!("{unsized_maps} maps have no memlock")));
    }
}

enum Current {
    None,
    Map,
    Prog,
}

/// `key 4B  value 8B  max_entries 64`: names and values in turn.
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    fn of(line: &'a str) -> Self {
        Self(line.split_whitespace().collect())
    }
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1])
    }
    fn bytes(&self, name: &str) -> Option<u64> {
        self.get(name)?.trim_end_matches('B').parse().ok()
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// `kmesh-daemon(1061919), other(7)`
fn holders(text: &str) -> Vec<Holder> {
    text.split(", ")
        .filter_map(|one| {
            let (comm, pid) = one.trim().strip_suffix(')')?.rsplit_once('(')?;
            Some(Holder { pid: pid.parse().ok()?, comm: comm.into() })
        })
        .collect()
}

fn printable(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
