//! Service SDK.
