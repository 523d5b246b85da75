//! An adapter under test.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

/// A new adapter of the port `P`, with what must outlive it, such as its folder.
pub struct Fixture<P: ?Sized> {
    adapter: Arc<P>,
    _kept: Box<dyn Any>,
}

impl<P: ?Sized> Fixture<P> {
    /// Creates the fixture of an adapter that needs nothing else.
    #[must_use]
    pub fn new(adapter: Arc<P>) -> Self {
        Self::with(adapter, ())
    }

    /// Creates the fixture of an adapter that needs `kept` as long as it lives.
    #[must_use]
    pub fn with(adapter: Arc<P>, kept: impl Any) -> Self {
        Self { adapter, _kept: Box::new(kept) }
    }
}

impl<P: ?Sized> Deref for Fixture<P> {
    type Target = Arc<P>;

    fn deref(&self) -> &Arc<P> {
        &self.adapter
    }
}
