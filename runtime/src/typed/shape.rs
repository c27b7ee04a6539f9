//! One or several: the shape of what comes back, known when the program is compiled.

/// How many of a thing there are.
pub trait Shape {
    /// So many values.
    type Of<T>;

    /// Brings values into shape; `None` if there are none where one is wanted.
    fn gather<T>(values: Vec<T>) -> Option<Self::Of<T>>;
}

/// Exactly one.
#[derive(Debug, Clone, Copy)]
pub enum One {}

/// Any number, in order.
#[derive(Debug, Clone, Copy)]
pub enum Several {}

impl Shape for One {
    type Of<T> = T;

    fn gather<T>(values: Vec<T>) -> Option<T> {
        values.into_iter().next()
    }
}

impl Shape for Several {
    type Of<T> = Vec<T>;

    fn gather<T>(values: Vec<T>) -> Option<Vec<T>> {
        Some(values)
    }
}
