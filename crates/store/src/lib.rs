//! The Store port over SQLite.
