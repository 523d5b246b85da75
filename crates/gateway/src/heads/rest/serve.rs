//! What all requests of the REST API have in common.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::{Caller, Credentials};
use ferrohub_model::{ErrorCode, HubError};

use super::RestResult;
use super::error::{ApiError, ErrorFormat};
use super::request::{RestRequest, check_api_version};
use super::routes::{Found, Handler, Route};
use crate::admission::CallerName;
use crate::http::{HttpConnection, HttpContext, NotAdmitted, RequestBody, authorization};
use crate::transport::peer::Peer;

/// Why a request has no response of its handler.
enum Refusal {
    Error(HubError),
    NotAdmitted(NotAdmitted),
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        Self::Error(error)
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(refusal: NotAdmitted) -> Self {
        Self::NotAdmitted(refusal)
    }
}

/// Serves a request whose route was found.
pub(crate) async fn serve(
    context: &HttpContext,
    connection: &HttpConnection,
    peer: &Peer,
    found: Found,
    head: axum::http::request::Parts,
    body: RequestBody,
) -> Response {
    let (route, parameters) = match found {
        Found::Route(route, parameters) => (route, parameters),
        Found::MethodNotAllowed(allow) => return method_not_allowed(allow),
    };
    let request = RestRequest { context: context.clone(), head, body, parameters };
    let served = try_serve(route, connection, peer, request).await;
    let render = |error| ApiError::new(error, route.errors).into_response();
    match served {
        Ok(response) => response,
        Err(Refusal::Error(error)) => render(error),
        Err(Refusal::NotAdmitted(NotAdmitted::TooManyConnections(refusal))) => {
            let mut response = render(refusal.into());
            refusal.close_connection(&mut response);
            response
        }
        // The connection is being closed; its client does not receive this.
        Err(Refusal::NotAdmitted(NotAdmitted::Evicted)) => {
            render(HubError::new(ErrorCode::ServiceUnavailable, "The connection was evicted."))
        }
    }
}

async fn try_serve(
    route: &Route,
    connection: &HttpConnection,
    peer: &Peer,
    request: RestRequest,
) -> Result<Response, Refusal> {
    let (hub, operation) = (&request.context.hub, route.operation);
    let credentials =
        Credentials { token: authorization(request.headers()), certificate: peer.certificate.as_ref() };
    // The right is checked before the rest of the request: a caller without it must not learn whether the request is valid,
    // and its body is not read.
    let result: RestResult = match route.handler {
        Handler::Service(handler) => {
            let caller = hub.authenticate_service(credentials.token, operation).await?;
            admit(&caller, route, connection, &request)?;
            handler(caller, request).await
        }
        Handler::Device(handler) => {
            let id = request.identity()?;
            let caller = hub.authenticate_device(&id, credentials, operation).await?;
            admit(&caller, route, connection, &request)?;
            handler(caller, request).await
        }
        Handler::ServiceOrDevice { serve, claimed } => {
            let claimed = || claimed(&request);
            let caller: Caller = hub.authenticate_service_or_device(credentials, claimed, operation).await?;
            admit(&caller, route, connection, &request)?;
            serve(caller, request).await
        }
    };
    Ok(result?)
}

/// Admits the connection of a caller who has proved its right, and checks the version of the API.
fn admit<'c, C>(
    caller: &'c C,
    route: &Route,
    connection: &HttpConnection,
    request: &RestRequest,
) -> Result<(), Refusal>
where
    CallerName: From<&'c C>,
{
    if !connection.is_authenticated() {
        connection.authenticate(&request.context.caller_connections, CallerName::from(caller))?;
    }
    if route.versioned {
        check_api_version(request.uri())?;
    }
    Ok(())
}

/// Returns the response to a request whose path exists, but not with its method. `allow` lists the methods.
pub(crate) fn method_not_allowed(allow: HeaderValue) -> Response {
    let error = HubError::new(ErrorCode::GenericMethodNotAllowed, "Method not allowed.");
    let mut response = ApiError::new(error, ErrorFormat::Registry).into_response();
    response.headers_mut().insert(header::ALLOW, allow);
    response
}
