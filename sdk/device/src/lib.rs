//! Device SDK.
