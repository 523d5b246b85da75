//! Queries on twins: a stream of rows, read page by page.

use http::{HeaderValue, Method};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::http_client::HttpResponse;
use crate::paging::{CONTINUATION, MAX_ITEM_COUNT, PageStream};
use crate::{Error, ErrorKind, ServiceClient};

const ITEM_TYPE: &str = "x-ms-item-type";

/// A page of the result of a query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueryPage<T> {
    /// The rows. A page may have fewer rows than asked for, or none, although there are more pages.
    pub rows: Vec<T>,
    /// What the hub says the rows are: `Twin` for `SELECT *`, else `Raw`.
    pub item_type: String,
    /// The token of the next page; `None` after the last page.
    pub continuation: Option<String>,
}

/// A query, before it is sent; from [`ServiceClient::query`].
#[derive(Debug, Clone)]
#[must_use]
pub struct QueryBuilder<'a> {
    client: &'a ServiceClient,
    text: String,
    page_size: Option<u32>,
    continuation: Option<String>,
}

impl ServiceClient {
    /// Begins a query on twins, such as `SELECT * FROM devices WHERE tags.building = 7`. The rows of `SELECT *` are
    /// [`Twin`](crate::Twin)s. Other rows have the type of the caller, or are `serde_json::Value`s.
    ///
    /// ```no_run
    /// # use ferrohub_service::{Error, ServiceClient, Twin};
    /// # async fn example(client: ServiceClient) -> Result<(), Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Battery {
    ///     #[serde(rename = "deviceId")]
    ///     device: String,
    ///     battery: Option<f64>,
    /// }
    ///
    /// let text = "SELECT deviceId, properties.reported.battery FROM devices";
    /// let mut rows = client.query(text).rows::<Battery>();
    /// while let Some(row) = rows.next().await {
    ///     let Battery { device, battery } = row?;
    ///     println!("{device}: {battery:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn query(&self, text: impl Into<String>) -> QueryBuilder<'_> {
        QueryBuilder { client: self, text: text.into(), page_size: None, continuation: None }
    }
}

impl QueryBuilder<'_> {
    /// Sets the number of rows that are read with one request, from 1 to 1000. The default of the hub is 100.
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = Some(rows.max(1));
        self
    }

    /// Continues after the page with this token, which is that of the same query.
    pub fn after(mut self, continuation: impl Into<String>) -> Self {
        self.continuation = Some(continuation.into());
        self
    }

    /// Returns the rows as a stream. Nothing is sent before the first row is asked for.
    pub fn rows<T>(self) -> PageStream<T> {
        let Self { client, text, page_size, continuation } = self;
        let (client, first) = (client.clone(), continuation.map(|token| header(&token)));
        PageStream::new(move |token| {
            let (client, text) = (client.clone(), text.clone());
            let token =
                token.map(Ok).or_else(|| first.as_ref().map(|first| first.clone().ok_or_else(bad_token)));
            Box::pin(async move { send(&client, &text, page_size, token.transpose()?).await })
        })
    }

    /// Reads one page.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] if the query or the token is not valid, or the query takes too long; the message says
    /// why and where; [`ErrorKind::Protocol`] if a row has another type; and those of any request.
    pub async fn page<T: DeserializeOwned>(self) -> Result<QueryPage<T>, Error> {
        let token = self.continuation.map(|token| header(&token).ok_or_else(bad_token)).transpose()?;
        let response = send(self.client, &self.text, self.page_size, token).await?;
        let header = |name: &str| {
            let value = response.headers.get(name).and_then(|value| value.to_str().ok());
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let rows = serde_json::from_slice(&response.body).map_err(|error| {
            Error::new(ErrorKind::Protocol, "a row of the query has another type").with_source(error)
        })?;
        let item_type = header(ITEM_TYPE).unwrap_or_default();
        Ok(QueryPage { rows, item_type, continuation: header(CONTINUATION.as_str()) })
    }
}

fn header(token: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(token).ok()
}

fn bad_token() -> Error {
    Error::invalid_input("the continuation token is not valid")
}

/// Sends the request for a page.
async fn send(
    client: &ServiceClient,
    text: &str,
    page_size: Option<u32>,
    continuation: Option<HeaderValue>,
) -> Result<HttpResponse, Error> {
    let mut request = client.request(Method::POST, "/devices/query", "").json(&json!({ "query": text }))?;
    if let Some(rows) = page_size {
        request = request.header(MAX_ITEM_COUNT, HeaderValue::from(rows));
    }
    if let Some(token) = continuation {
        request = request.header(CONTINUATION, token);
    }
    request.send().await
}
