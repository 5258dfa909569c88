#![allow(unsafe_code)]
use meshdump::evidence::config_dump::*;
use meshdump::model::source::InputId;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let q = a.get(2).is_some();
    let t = std::time::Instant::now();
    let f = std::fs::File::open(&a[1]).unwrap();
    let (d, p) = if a[1].ends_with(".gz") {
        let mut r = flate2::read::MultiGzDecoder::new(f);
        read_stream(&a[1], InputId(0), &mut r, Limits::default())
    } else {
        let m = unsafe { memmap2::Mmap::map(&f).unwrap() };
        read_slice(&a[1], InputId(0), &m, Limits::default())
    };
    println!("{:?} secs, {} resources {} sections", t.elapsed().as_secs_f64(), d.resources, d.sections);
    for (k, x) in &d.dumps {
        println!(
            "[{k}] L{} C{} R{} E{} S{} X{} unk{:?} node {:?}",
            x.listeners.len(),
            x.clusters.len(),
            x.route_tables.len(),
            x.endpoint_sets.len(),
            x.secrets.len(),
            x.extension_configs.len(),
            x.unknown.iter().map(|u| (&u.type_name, u.count)).collect::<Vec<_>>(),
            if q { None } else { Some(&x.node) }
        );
    }
    for x in p.iter().take(6) {
        println!("  {:?}@{:?}:{:?} {} ", x.loss, x.offset_bytes, x.line, x.what);
    }
}
