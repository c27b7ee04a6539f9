//! Divides buffers among threads.

use std::{marker::PhantomData, ops::Range};

use super::Threads;

impl Threads {
    /// Calls `work` once for every chunk of `chunk_len` elements of `buffer`, with its index; the
    /// last chunk may be shorter.
    pub fn for_chunks<T: Send>(
        &self,
        buffer: &mut [T],
        chunk_len: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = buffer.len();
        if len == 0 {
            return;
        }
        let chunk_len = chunk_len.clamp(1, len);
        let base = Base(buffer.as_mut_ptr(), PhantomData);
        self.run(len.div_ceil(chunk_len), &|chunk_idx| {
            let start = chunk_idx * chunk_len;
            let chunk = chunk_len.min(len - start);
            // SAFETY: `run` passes each index once, so the chunks do not overlap; each lies within
            // `buffer`, which stays mutably borrowed until `run` has returned.
            let chunk = unsafe { std::slice::from_raw_parts_mut(base.at(start), chunk) };
            work(chunk_idx, chunk);
        });
    }

    /// Calls `work` once for every `chunk_len` columns of `buffer`, `[rows, num_columns]`, with
    /// their span; the last chunk may be narrower.
    pub fn for_columns<T: Send>(
        &self,
        buffer: &mut [T],
        num_columns: usize,
        chunk_len: usize,
        work: impl Fn(Range<usize>, &mut Columns<'_, T>) + Sync,
    ) {
        if buffer.is_empty() {
            return;
        }
        let num_rows = buffer.len() / num_columns;
        let chunk_len = chunk_len.clamp(1, num_columns);
        let base = Base(buffer.as_mut_ptr(), PhantomData);
        self.run(num_columns.div_ceil(chunk_len), &|chunk_idx| {
            let start = chunk_idx * chunk_len;
            let span = start..num_columns.min(start + chunk_len);
            // `run` passes each index once, so that no two of these overlap; each lies within
            // `buffer`, which stays mutably borrowed until `run` has returned.
            let mut columns =
                Columns { base: &base, stride: num_columns, span: span.clone(), num_rows };
            work(span, &mut columns);
        });
    }
}

/// Start of a buffer.
struct Base<'a, T>(*mut T, PhantomData<&'a mut [T]>);

impl<T> Base<'_, T> {
    /// # Safety
    /// `offset` must lie within the buffer.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

// SAFETY: only the functions above make one, and they hand each part to a single thread.
unsafe impl<T: Send> Sync for Base<'_, T> {}

/// Some columns of a buffer `[rows, columns]`, for one thread only.
///
/// Invariant: the columns of `span` lie within the buffer at `base`, and nothing else refers to
/// them while this lives.
pub struct Columns<'a, T> {
    base: &'a Base<'a, T>,
    /// Columns of the whole buffer.
    stride: usize,
    span: Range<usize>,
    num_rows: usize,
}

impl<T> Columns<'_, T> {
    /// Returns the elements of one row in these columns.
    #[inline]
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.num_rows, "row {row} of {}", self.num_rows);
        let start = row * self.stride + self.span.start;
        // SAFETY: by the invariant the span lies within the buffer in each of its rows, and the
        // elements are borrowed through `self` alone.
        unsafe { std::slice::from_raw_parts_mut(self.base.at(start), self.span.len()) }
    }

    /// Returns some of these columns, counted from their first.
    pub fn part(&mut self, part: Range<usize>) -> Columns<'_, T> {
        let span = self.span.start + part.start..self.span.start + part.end;
        assert!(part.start <= part.end && span.end <= self.span.end, "{part:?} of {:?}", self.span);
        Columns { base: self.base, stride: self.stride, span, num_rows: self.num_rows }
    }
}
