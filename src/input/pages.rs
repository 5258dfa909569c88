//! The pages of a mapped file, let go once they are read.
//!
//! A dump that stays mapped to its end counts as resident as a whole, which in a container with a limit is memory that
//! somebody else needs.

use std::ops::Range;

use memmap2::Mmap;

/// What a document's content is mapped from; nothing for content that is not mapped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pages<'a> {
    map: Option<&'a Mmap>,
    /// Where the content starts in the map.
    start: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn of(map: &'a Mmap, start: usize) -> Self {
        Self { map: Some(map), start }
    }

    /// Unmaps the pages of `range`, offsets into the content. They stay in the page cache, and come back when they are
    /// read again.
    pub fn done(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let (Some(map), Some(at)) = (self.map, self.start.checked_add(range.start))
            && at.checked_add(range.len()).is_some_and(|end| end <= map.len())
        {
            #[expect(unsafe_code, reason = "the call is unsafe for maps that are written to")]
            // SAFETY: the map is read-only and of a file, so a page that is read again has the same bytes again.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, at, range.len()) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }
}
