//! The findings about BPF maps.

use crate::findings::catalog::Entry;

/// What `meshdump explain` says of each code, in their order.
pub const CODES: &[Entry] = &[
    Entry {
        code: "MD501",
        title: "preallocated and idle",
        text: "The map takes its memory when it is created, whatever is put into it. Hash maps without BPF_F_NO_PREALLOC \
         allocate every element and its bucket, arrays every slot, and even a map with BPF_F_NO_PREALLOC has its bucket \
         table in full: 16 bytes per entry of max_entries, rounded up to a power of two. Live entries come from a dump, \
         or, on kernels from 6.4 on, from bytes_memlock itself where the kernel counts them. Lower max_entries to a \
         small multiple of what is used; for hash maps that are written rarely, BPF_F_NO_PREALLOC costs 8 to 16 bytes \
         and a slab rounding per live entry instead.",
    },
    Entry {
        code: "MD502",
        title: "inner maps made ahead of need",
        text: "Maps inside an array of maps or a hash of maps are maps of their own: each has the kernel's header, a slab \
         object rounded up to the next size class, and, while a daemon keeps it open, a file of about 400 bytes. Kmesh \
         0.4 and 0.5 make them in thousands before a service needs them (0.5: 32,768 slots at a time when 70 % are in \
         use, back in steps of 8,192 below 30 %). `meshdump bpf simulate` shows the steps for a number of services and \
         what other steps, lazy creation or plain hash maps would take.",
    },
    Entry {
        code: "MD503",
        title: "near its limit",
        text: "At least 80 % of max_entries are live. A plain hash refuses the next key with E2BIG, a trie and a devmap with \
         ENOSPC; an LRU map evicts, so connections may lose their state. Raise max_entries before it is reached: every \
         data plane has a setting for it, and a map is re-created to change it, so old and new exist together for a \
         moment.",
    },
    Entry {
        code: "MD504",
        title: "grows with the machine's CPUs",
        text: "Per-CPU maps keep one value for every possible CPU, not for every online one; machines with hot-plug report \
         more than they have. The same DaemonSet takes this much more on a bigger node. Per-CPU memory that is allocated \
         with the map is charged to the root cgroup and not to the pod that made it (measured on 6.1, 6.12 and 7.2), so \
         a container's memory does not show it and bytes_memlock does.",
    },
    Entry {
        code: "MD505",
        title: "the reported number is not the memory",
        text: "bytes_memlock has had three meanings. Before kernel 5.11 it is what was charged to RLIMIT_MEMLOCK, the worst \
         case of the shape. From 5.11 to 6.3 it is a product of the declared sizes: it knows no buckets, no element \
         headers, no ring buffer, and counts unallocated elements in full. From 6.4 on it is computed per type and \
         follows live entries, without slab rounding, a trie's intermediate nodes, or maps inside maps. The column REAL \
         is what the allocator hands out.",
    },
    Entry {
        code: "MD506",
        title: "in no program's list",
        text: "Tools that sum the maps of each program (Inspektor Gadget's MAPMEMORY, older `top ebpf`) count a map shared by \
         ten programs ten times and a map inside another map never, because a program's map_ids name only what its \
         instructions refer to. Such a column stays constant while inner maps are added. Here every map is counted once, \
         under the map that holds it.",
    },
    Entry {
        code: "MD507",
        title: "several of one kind, some unused",
        text: "Maps with one name and one shape exist several times, and some of them are used by no program, pinned nowhere \
         and in no other map of the evidence. That is what an upgrade or a restart leaves behind when it re-creates maps \
         instead of opening the pinned ones. A map lives as long as a program, a pin, another map or a file descriptor \
         refers to it; find the process with `bpftool map show` as root (pids) or /proc/*/fdinfo.",
    },
    Entry {
        code: "MD508",
        title: "max_entries was rounded by the kernel",
        text: "An LRU map with BPF_F_NO_COMMON_LRU keeps one list per CPU, and the kernel rounds max_entries up to a multiple \
         of the possible CPUs and shows the rounded number. Agents that compare it with their setting see a mismatch and \
         may re-create the map again and again (Cilium issues 39070 and 42511). Set a multiple of the CPUs.",
    },
    Entry {
        code: "MD509",
        title: "bytes_memlock as written cannot be right",
        text: "bpftool before 6.8 read the number with atoi: sizes from 2 GiB on come out negative. Adding 2^32 repairs sizes \
         below 4 GiB; above that the upper bits are lost. Where the file of the map could not be read there is no number \
         at all, and the model's stands in.",
    },
    Entry {
        code: "MD510",
        title: "another kernel will report another number",
        text: "The same maps under another meaning of bytes_memlock. Dashboards that sum it jump at a kernel upgrade without \
         any change in memory; limits and alerts built on it have to move with the kernel.",
    },
    Entry {
        code: "MD511",
        title: "changed between the listings",
        text: "Two listings of one node are compared by name, type and sizes, because ids are new after every re-creation. \
         Maps that grew in number without a growing configuration are leftovers or preallocation steps.",
    },
    Entry {
        code: "MD512",
        title: "maps the model does not explain",
        text: "The formula for the type is not known, or the number differs from it by more than the profile can account for. \
         Their reported bytes are in the sums as they are; nothing is scaled to fit. Give the kernel's BTF with --btf \
         /sys/kernel/btf/vmlinux, or the version with --kernel.",
    },
    Entry {
        code: "MD521",
        title: "more repeated elements than Kmesh stores",
        text: "Kmesh stores a repeated field as one array of pointers in one map value: 162 elements in 0.5 (1,300 bytes), 200 \
         from 1.0 on (1,600 bytes). In 0.5 the next element writes past the buffer; its daemon crashed at 165 virtual \
         hosts in one route configuration (issue 1023).",
    },
    Entry {
        code: "MD522",
        title: "more objects than Kmesh's maps hold",
        text: "Top-level objects have maps of their own with fixed max_entries: 1,024 listeners in 0.5 and 8,192 from 1.0 on, \
         16,384 clusters, 16,384 route configurations, 1,000,000 values per size class. Further objects are refused and \
         their traffic is not handled.",
    },
    Entry {
        code: "MD523",
        title: "stored but never read",
        text: "Kmesh's programs walk a bounded number of elements: 16 virtual hosts per route configuration, 8 routes per \
         virtual host, 4 filter chains per listener, 4 filters per chain, 64 endpoints per cluster. What is beyond costs \
         memory and is never matched.",
    },
    Entry {
        code: "MD524",
        title: "the allocator did not keep up",
        text: "More slots were asked for than exist: Kmesh's allocation fails, and the object is missing from the data plane \
         until it is pushed again. Policies that grow by a poll can fall behind one large push.",
    },
];
