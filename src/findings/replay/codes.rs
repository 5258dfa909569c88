//! The codes of what a replayed recording shows.

use crate::findings::catalog::Entry;

/// MD8xx, in order.
pub const CODES: &[Entry] = &[
    Entry {
        code: "MD801",
        title: "old generations piled up",
        text: "Several old generations of listeners were alive at the same time, since changes came faster than the drain \
               time. A generation that is replaced drains for exactly the drain time (`--drain-time-s`, 600 s by default), \
               with or without connections; a removed filter chain of an in-place update does so too. The peak of such \
               memory is roughly the push rate times the drain time times the size of a generation. Batch changes, keep \
               the order of lists stable, move certificates to SDS and routes to RDS, or shorten the drain time. What a \
               replay says about drains is simulated by Envoy's own rules; bytes are estimated by the cost model.",
    },
    Entry {
        code: "MD802",
        title: "only the order changed",
        text: "Resources were pushed again with the same content in another order. Envoy compares repeated fields in order, \
               so each such push is a change: a listener drains, a cluster is rebuilt with all its hosts. Control planes \
               that range over a hash map do this without meaning to. The fix is to sort before sending; map fields need \
               no sorting, since Envoy compares them without order.",
    },
    Entry {
        code: "MD803",
        title: "pushes that changed nothing",
        text: "Every resource of these responses was equal to what Envoy had. It drops them by hash (listeners, clusters, \
               route tables, secrets) or by comparing addresses (endpoints), so they drain nothing and add nothing, but \
               each one is parsed and decoded in full: CPU of the main thread, and memory for the time of the response.",
    },
    Entry {
        code: "MD804",
        title: "the memory limit is passed",
        text: "The simulated anonymous memory passes the limit that was given. It follows the highest `allocated` so far, \
               since the allocator keeps pages it once had (after a gRPC response Envoy gives back 100 MiB once that much \
               is free). The kernel kills at the limit; connections and traffic come on top of what is simulated here.",
    },
    Entry {
        code: "MD805",
        title: "state that never goes",
        text: "At the end, after all timers, something is held that nothing needs: a listener that waits for a dependency \
               with initial_fetch_timeout 0 which never came, filter chains that Envoy 1.36 and later mark as draining \
               although the active listener has them (a newer build was superseded while it warmed), or what removed \
               clusters leave in tables that do not shrink.",
    },
    Entry {
        code: "MD806",
        title: "resources were rejected",
        text: "Envoy refused some resources: the recording has its rejection, or the resource breaks a rule that the \
               simulation knows (an address that another listener has, a name twice in one response, two filter chains \
               with one match). A rejection rolls nothing back: what was \
               applied before and after it in the same response stays.",
    },
    Entry {
        code: "MD807",
        title: "simulation and observation disagree",
        text: "The recording holds values that Envoy really showed, and the simulated ones differ: gauges that are not \
               equal, or `allocated` off by more than the bounds of the cost model. Usual reasons: the recording begins \
               after the first push (give --base), another drain time, worker count or version than assumed, a gap in the \
               recording, or connections that hold what the simulation has let go.",
    },
    Entry {
        code: "MD808",
        title: "the recording is not complete",
        text: "Something is missing from the recording or its times are not known: a gap, a cut-off end, a reconnect, times \
               that were made up. What the report says is the effect of the pushes that are there; drains that overlap a \
               gap, and counts after it, may be too low.",
    },
];
