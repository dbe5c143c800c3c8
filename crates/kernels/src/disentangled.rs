//! The terms of disentangled attention that depend on the distance of two tokens (He et al., "DeBERTa", 2021).
//!
//! The score of query i and key j gets `q_i . K[r]` and `k_j . Q[r]`, where r is the row of the distance i - j in two tables. Products with
//! all rows that a tile needs come first, and each score then takes its element.

use super::product::{Matrix, Precision, Write};

/// The tables of distances.
#[derive(Clone, Copy)]
pub struct Relative<'a> {
    /// The row of each distance i - j, from `-limit` to `limit`, in ascending order. Larger distances do not occur.
    pub rows: &'a [u32],
    pub limit: u32,
    /// The keys of distances, `[rows, width]`.
    pub keys: Option<&'a [f32]>,
    /// The queries of distances, `[rows, width]`.
    pub queries: Option<&'a [f32]>,
    /// Of the products.
    pub precision: Precision,
}

impl<'a> Relative<'a> {
    /// Number of terms beside that of the tokens.
    pub(super) fn terms(&self) -> usize {
        usize::from(self.keys.is_some()) + usize::from(self.queries.is_some())
    }

    /// Gradients of both tables before the first addition.
    pub(super) fn zeros(&self) -> [Vec<f32>; 2] {
        [self.keys, self.queries].map(|table| vec![0.0; table.map_or(0, <[f32]>::len)])
    }

    /// The terms of one head, which begins at column `column`, for queries and keys at these positions.
    pub(super) fn of_head(self, column: usize, (queries, keys): (&'a [u32], &'a [u32]), scale: f32) -> HeadTerms<'a> {
        let ends = |positions: &[u32]| (positions[0], positions[positions.len() - 1]);
        let ((first_query, last_query), (first_key, last_key)) = (ends(queries), ends(keys));
        let first = self.row(first_query, last_key);
        let count = self.row(last_query, first_key) + 1 - first;
        HeadTerms { tables: self, column, scale, queries, keys, first, count }
    }

    /// The row for a query and a key at these positions.
    fn row(&self, query: u32, key: u32) -> usize {
        self.rows[(query + self.limit - key) as usize] as usize
    }
}

/// The terms of the scores of one head of some queries and keys.
#[derive(Clone, Copy)]
pub(super) struct HeadTerms<'a> {
    tables: Relative<'a>,
    /// First column of the head in the tables.
    column: usize,
    scale: f32,
    /// Positions.
    queries: &'a [u32],
    keys: &'a [u32],
    /// The rows of the tables that these positions need: the first, and how many.
    first: usize,
    count: usize,
}

impl HeadTerms<'_> {
    /// Index of the table's first element for matrices with rows of `width` elements.
    fn start(&self, width: usize) -> usize {
        self.first * width + self.column
    }

    /// Calls `each` with the index of each score, and that of its element in the products of the queries, or of the keys if
    /// `by_key`, with the rows of a table.
    fn places(&self, by_key: bool, mut each: impl FnMut(usize, usize)) {
        for (i, &query) in self.queries.iter().enumerate() {
            for (j, &key) in self.keys.iter().enumerate() {
                let token = if by_key { j } else { i };
                each(i * self.keys.len() + j, token * self.count + self.tables.row(query, key) - self.first);
            }
        }
    }
}

/// Memory that tiles use in turn.
#[derive(Default)]
pub(super) struct Room(Vec<f32>);

/// The gradients to which [`add_gradients`] adds: those of the queries, of the keys, and of both tables.
pub(super) struct Sums<'a> {
    pub q: &'a mut [f32],
    pub k: &'a mut [f32],
    pub relative: &'a mut [Vec<f32>; 2],
}

/// Adds the terms to the scaled scores of the queries and the keys in `tokens`.
pub(super) fn add_terms(scores: &mut [f32], tokens: [Matrix<'_>; 2], terms: HeadTerms<'_>, Room(products): &mut Room) {
    let tables = [terms.tables.keys, terms.tables.queries];
    for ((table, tokens), by_key) in tables.into_iter().zip(tokens).zip([false, true]) {
        let Some(table) = table else { continue };
        let width = tokens.row_stride();
        let table = Matrix::strided(&table[terms.start(width)..], terms.count, tokens.columns(), width);
        products.resize(tokens.rows() * terms.count, 0.0);
        terms.tables.precision.product(terms.scale, tokens, table.t(), products, terms.count, Write::Replace);
        terms.places(by_key, |score, place| scores[score] += products[place]);
    }
}

/// Adds the gradients of the terms, from the gradients of the scaled scores.
pub(super) fn add_gradients(
    dscores: &[f32],
    tokens: [Matrix<'_>; 2],
    terms: HeadTerms<'_>,
    sums: Sums<'_>,
    Room(gradients): &mut Room,
) {
    let [dkeys, dqueries] = sums.relative;
    let tables = [(terms.tables.keys, sums.q, dkeys), (terms.tables.queries, sums.k, dqueries)];
    for (((table, dtokens, dtable), tokens), by_key) in tables.into_iter().zip(tokens).zip([false, true]) {
        let Some(table) = table else { continue };
        let (width, start) = (tokens.row_stride(), terms.start(tokens.row_stride()));
        gradients.clear();
        gradients.resize(tokens.rows() * terms.count, 0.0);
        terms.places(by_key, |score, place| gradients[place] += dscores[score]);
        let gradient = Matrix::new(gradients, tokens.rows(), terms.count);
        let table = Matrix::strided(&table[start..], terms.count, tokens.columns(), width);
        terms.tables.precision.product(terms.scale, gradient, table, dtokens, width, Write::Add);
        terms.tables.precision.product(terms.scale, gradient.t(), tokens, &mut dtable[start..], width, Write::Add);
    }
}
