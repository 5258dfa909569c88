//! Recordings in binary form, built byte by byte.

pub(crate) const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// A protobuf field of bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

pub(crate) fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A segment of a tap at `t` seconds: read (2) or write (3) by the client.
pub(crate) fn segment(t: u8, direction: u8, data: &[u8], truncated: bool) -> Vec<u8> {
    let mut body = field(1, data);
    if truncated {
        body.extend([3 << 3, 1]);
    }
    let event = [field(1, &[8, t]), field(direction, &field(1, &body))].concat();
    let wrapper = field(4, &[&[8, 1][..], &field(3, &event)].concat());
    let mut out = Vec::new();
    varint(&mut out, wrapper.len() as u64);
    [out, wrapper].concat()
}

/// A gRPC message in HTTP/2 DATA frames of at most `most` bytes.
pub(crate) fn frames(message: &[u8], most: usize) -> Vec<u8> {
    let mut grpc = vec![0];
    grpc.extend((message.len() as u32).to_be_bytes());
    grpc.extend_from_slice(message);
    let mut out = Vec::new();
    for chunk in grpc.chunks(most) {
        out.extend(&(chunk.len() as u32).to_be_bytes()[1..]);
        out.extend([0, 0, 0, 0, 0, 1]);
        out.extend_from_slice(chunk);
    }
    out
}

pub(crate) fn wire_response(version: &str, nonce: &str, resources: &[String]) -> Vec<u8> {
    let mut out = field(1, version.as_bytes());
    for r in resources {
        let any = meshdump::lab::codec::any(&serde_json::from_str(r).expect("JSON")).expect("a resource");
        out.extend(field(2, &[field(1, any.type_url.as_bytes()), field(2, &any.value)].concat()));
    }
    out.extend(field(4, CDS.as_bytes()));
    out.extend(field(5, nonce.as_bytes()));
    out
}

pub(crate) fn wire_request(nonce: &str, error: Option<&str>) -> Vec<u8> {
    let mut out = field(2, &[field(1, b"node-1"), field(8, &field(1, &[8, 1, 16, 40]))].concat());
    out.extend(field(4, CDS.as_bytes()));
    out.extend(field(5, nonce.as_bytes()));
    if let Some(e) = error {
        out.extend(field(6, &field(2, e.as_bytes())));
    }
    out
}

/// What an HTTP/2 client sends first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An entry of gRPC's binary log (`GrpcLogEntry`): second `t`, call, number within the call, kind, and more fields.
pub(crate) fn log_entry(t: u8, call: u8, number: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    [&field(1, &[8, t])[..], &[2 << 3, call, 3 << 3, number, 4 << 3, kind, 5 << 3, 2], rest].concat()
}

/// Records one after the other, each behind its length: four bytes as grpc-go writes them, or a varint.
pub(crate) fn delimited(records: &[&[u8]], big_endian: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        if big_endian {
            out.extend((record.len() as u32).to_be_bytes());
        } else {
            varint(&mut out, record.len() as u64);
        }
        out.extend_from_slice(record);
    }
    out
}

/// An HTTP/2 frame of any type.
pub(crate) fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}
