//! Lists that the hub returns in pages.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use crate::http_client::HttpResponse;
use crate::{Error, ErrorKind};

/// The largest number of items in a page.
pub(crate) const MAX_ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
/// Where a page starts, in a request; where the next page starts, in a response.
pub(crate) const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const TOTAL_COUNT: &str = "ferrohub-total-count";

type Response = BoxFuture<'static, Result<HttpResponse, Error>>;
/// Requests a page; the first one if there is no token.
type Request = Box<dyn Fn(Option<HeaderValue>) -> Response + Send>;

/// A stream of the items of a list. It requests a page of them when those of the last page were returned. It ends after
/// the last item, or after an error.
pub struct PageStream<T> {
    request: Request,
    items: std::vec::IntoIter<T>,
    next: Next,
    total: Option<u64>,
}

enum Next {
    /// The page with this token; the first page if there is none.
    Page(Option<HeaderValue>),
    /// The response to a request. It survives when the future of `next` is dropped.
    Response(Response),
    End,
}

impl<T> PageStream<T> {
    pub(crate) fn new(request: impl Fn(Option<HeaderValue>) -> Response + Send + 'static) -> Self {
        Self {
            request: Box::new(request),
            items: Vec::new().into_iter(),
            next: Next::Page(None),
            total: None,
        }
    }

    /// Returns the number of all items of the hub, whether the list contains them or not. `None` before the first item,
    /// and from Azure, which does not report it.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl<T: DeserializeOwned + Unpin> PageStream<T> {
    /// Waits for the next item. Returns `None` at the end of the list. The same as `StreamExt::next`, without the trait.
    /// Dropping the future loses no item.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn read(&mut self, response: &HttpResponse) -> Result<(), Error> {
        let items: Vec<T> = serde_json::from_slice(&response.body).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the response of the hub cannot be read").with_source(error)
        })?;
        self.items = items.into_iter();
        let total = response.headers.get(TOTAL_COUNT);
        self.total = total.and_then(|total| total.to_str().ok()?.parse().ok());
        let token = response.headers.get(CONTINUATION).filter(|token| !token.is_empty());
        self.next = token.map_or(Next::End, |token| Next::Page(Some(token.clone())));
        Ok(())
    }
}

impl<T: DeserializeOwned + Unpin> Stream for PageStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.items.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            match &mut this.next {
                Next::End => return Poll::Ready(None),
                Next::Page(token) => this.next = Next::Response((this.request)(token.take())),
                Next::Response(response) => {
                    let response = ready!(response.as_mut().poll(cx));
                    this.next = Next::End;
                    if let Err(error) = response.and_then(|response| this.read(&response)) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

impl<T> fmt::Debug for PageStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageStream").field("total", &self.total).finish_non_exhaustive()
    }
}
