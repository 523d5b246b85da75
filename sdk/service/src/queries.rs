//! Queries on twins: a stream of rows, read page by page.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{Error, ErrorKind, ServiceClient};

const MAX_ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
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
    pub fn rows<T>(self) -> RowStream<T> {
        let next = Request { client: self.client.clone(), text: self.text, page_size: self.page_size };
        RowStream { request: Some(next), continuation: self.continuation, rows: VecDeque::new(), step: None }
    }

    /// Reads one page.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] if the query or the token is not valid, or the query takes too long; the message says
    /// why and where; [`ErrorKind::Protocol`] if a row has another type; and those of any request.
    pub async fn page<T: DeserializeOwned>(self) -> Result<QueryPage<T>, Error> {
        let request = Request { client: self.client.clone(), text: self.text, page_size: self.page_size };
        request.send(self.continuation.as_deref()).await
    }
}

#[derive(Debug)]
struct Request {
    client: ServiceClient,
    text: String,
    page_size: Option<u32>,
}

impl Request {
    async fn send<T: DeserializeOwned>(&self, continuation: Option<&str>) -> Result<QueryPage<T>, Error> {
        let mut request =
            self.client.request(Method::POST, "/devices/query", "").json(&json!({ "query": self.text }))?;
        if let Some(rows) = self.page_size {
            request = request.header(MAX_ITEM_COUNT, HeaderValue::from(rows));
        }
        if let Some(token) = continuation {
            let token = HeaderValue::from_str(token).map_err(|error| {
                Error::invalid_input("the continuation token is not valid").with_source(error)
            })?;
            request = request.header(CONTINUATION, token);
        }
        let response = request.send().await?;
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

type Step<T> = BoxFuture<'static, (Request, Result<QueryPage<T>, Error>)>;

/// The rows of a query; from [`QueryBuilder::rows`]. The next page is read when the rows of the page before have been
/// returned. After an error the next call reads the same page again, so that no row is lost or repeated.
pub struct RowStream<T> {
    /// `None` while a step owns it, and after the last page.
    request: Option<Request>,
    continuation: Option<String>,
    rows: VecDeque<T>,
    /// The request in progress. It survives when the future of `next` is dropped.
    step: Option<Step<T>>,
}

impl<T: DeserializeOwned + Send + Unpin + 'static> RowStream<T> {
    /// Waits for the next row. Returns `None` after the last row. The same as `StreamExt::next`, without the trait.
    /// Dropping the future loses no row.
    ///
    /// # Errors
    /// As [`QueryBuilder::page`].
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T: DeserializeOwned + Send + Unpin + 'static> Stream for RowStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(row) = this.rows.pop_front() {
                return Poll::Ready(Some(Ok(row)));
            }
            if let Some(request) = this.request.take() {
                let continuation = this.continuation.clone();
                this.step = Some(Box::pin(async move {
                    let page = request.send(continuation.as_deref()).await;
                    (request, page)
                }));
            }
            let Some(step) = &mut this.step else { return Poll::Ready(None) };
            let (request, page) = ready!(step.as_mut().poll(cx));
            this.step = None;
            match page {
                Err(error) => {
                    this.request = Some(request);
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(page) => {
                    this.rows = page.rows.into();
                    this.request = page.continuation.is_some().then_some(request);
                    this.continuation = page.continuation;
                }
            }
        }
    }
}

impl<T> fmt::Debug for RowStream<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request: _, continuation, rows, step: _ } = self;
        formatter
            .debug_struct("RowStream")
            .field("continuation", continuation)
            .field("buffered_rows", &rows.len())
            .finish_non_exhaustive()
    }
}
