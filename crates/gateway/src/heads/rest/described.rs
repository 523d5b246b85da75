//! What a row of the table says for the description of the API, besides what the table of operations says.

use super::routes::Route;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// A body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// JSON of a schema.
    Json(&'static str),
    /// Media types, each with its schema.
    Media(&'static [(&'static str, &'static str)]),
}

impl Content {
    /// Returns the media types, each with its schema.
    pub(super) fn media_types(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Json(schema) => vec![(JSON, schema)],
            Self::Media(media_types) => media_types.to_vec(),
        }
    }
}

/// The request and the responses of a row. Parameters, schemas and headers are named as in `schemas/`, which describes
/// them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described {
    /// Query parameters and headers of the request, without those that every versioned request has.
    pub(super) parameters: &'static [&'static str],
    /// The body of the request, if it has one.
    pub(super) body: Option<Content>,
    /// The body of a response with status 200, if there is one.
    pub(super) result: Option<Content>,
    /// Further statuses of a response with this body, which tells what could not be done.
    pub(super) partial: &'static [u16],
    /// Whether a response has status 202 and no body.
    pub(super) is_accepted: bool,
    /// Whether a response may have status 204.
    pub(super) may_be_empty: bool,
    /// Headers of a response with status 200 or 202.
    pub(super) headers: &'static [&'static str],
    /// Statuses of errors that follow from the operation. Every request may fail with others.
    pub(super) failures: &'static [u16],
}

impl Described {
    pub(super) const NOTHING: Self = Self {
        parameters: &[],
        body: None,
        result: None,
        partial: &[],
        is_accepted: false,
        may_be_empty: false,
        headers: &[],
        failures: &[],
    };

    /// Returns whether the row says how a successful response looks.
    #[cfg(test)]
    fn has_response(&self) -> bool {
        self.result.is_some() || self.is_accepted || self.may_be_empty
    }
}

/// The methods with which the table describes a row.
impl Route {
    /// Requests may have these query parameters and headers.
    pub(super) const fn takes(self, parameters: &'static [&'static str]) -> Self {
        Self { described: Described { parameters, ..self.described }, ..self }
    }

    /// Requests have a JSON body of this schema.
    pub(super) const fn body(self, schema: &'static str) -> Self {
        Self { described: Described { body: Some(Content::Json(schema)), ..self.described }, ..self }
    }

    /// Requests have a body of one of these media types, each with its schema.
    pub(super) const fn body_of(self, media_types: &'static [(&'static str, &'static str)]) -> Self {
        Self { described: Described { body: Some(Content::Media(media_types)), ..self.described }, ..self }
    }

    /// Responses have status 200 and a JSON body of this schema.
    pub(super) const fn returns(self, schema: &'static str) -> Self {
        Self { described: Described { result: Some(Content::Json(schema)), ..self.described }, ..self }
    }

    /// Responses have status 200 and a body of one of these media types, each with its schema.
    pub(super) const fn returns_one_of(self, media_types: &'static [(&'static str, &'static str)]) -> Self {
        Self { described: Described { result: Some(Content::Media(media_types)), ..self.described }, ..self }
    }

    /// Responses with these statuses have the body of one with status 200, if the operation was done in part or not at all.
    pub(super) const fn returns_also(self, partial: &'static [u16]) -> Self {
        Self { described: Described { partial, ..self.described }, ..self }
    }

    /// Responses have status 202 and no body.
    pub(super) const fn accepts(self) -> Self {
        Self { described: Described { is_accepted: true, ..self.described }, ..self }
    }

    /// Responses have status 204. After `returns`: they may have it, if there is nothing to return.
    pub(super) const fn returns_nothing(self) -> Self {
        Self { described: Described { may_be_empty: true, ..self.described }, ..self }
    }

    /// Responses with status 200 or 202 have these headers.
    pub(super) const fn with(self, headers: &'static [&'static str]) -> Self {
        Self { described: Described { headers, ..self.described }, ..self }
    }

    /// The operation may be refused with these statuses.
    pub(super) const fn fails(self, failures: &'static [u16]) -> Self {
        Self { described: Described { failures, ..self.described }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::ROUTES;
    use super::*;

    #[test]
    fn every_row_of_the_table_has_a_response() {
        assert!(!Described::NOTHING.has_response());
        for route in ROUTES {
            assert!(route.described.has_response(), "{:?}", route.operation);
            let has_headers = route.described.result.is_some() || route.described.is_accepted;
            assert!(route.described.headers.is_empty() || has_headers);
        }
    }
}
