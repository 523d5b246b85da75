//! The path of a request before routing.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Drops one slash at the end of the path: .NET, Node and C clients send `/devices/` and
/// `/devices/{id}/files/notifications/` (.NET: `RegistryManager.cs`, Node: `registry.js`, C:
/// `iothub_client_ll_uploadtoblob.c`). The query and all percent escapes stay as they are. Returns `None` if the path
/// stays as it is, as all paths below `file_paths` do: they contain the name of a file.
pub(crate) fn without_trailing_slash(uri: &Uri, file_paths: &[&str]) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    if is_below(path, file_paths) {
        return None;
    }
    let target = match uri.query() {
        None => PathAndQuery::try_from(path),
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.ok()?);
    Uri::from_parts(parts).ok()
}

fn is_below(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 2] = ["/ferrohub-uploads", "/ferrohub/files"];

    #[test]
    fn exactly_one_trailing_slash_is_dropped_and_the_query_stays() {
        for (sent, expected) in [
            ("/devices/?top=1000&api-version=2021-04-12", "/devices?top=1000&api-version=2021-04-12"),
            ("/devices/?&a=%2F/&&", "/devices?&a=%2F/&&"),
            ("/twins/d/methods/", "/twins/d/methods"),
            ("/devices//", "/devices/"),
            ("/devices/a%2F/", "/devices/a%2F"),
            ("/ferrohub/files/", "/ferrohub/files"),
            ("/ferrohub-uploads/", "/ferrohub-uploads"),
            ("https://hub:443/devices/?x", "https://hub:443/devices?x"),
        ] {
            let uri = without_trailing_slash(&sent.parse().unwrap(), &FILES);
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), Some(expected), "{sent}");
        }
    }

    #[test]
    fn other_paths_stay_as_they_are() {
        for sent in [
            "/",
            "*",
            "/devices",
            "/devices%2F",
            "/devices?a=/",
            "/ferrohub-uploads/d/f/?sig=x",
            "/ferrohub/files/d/f/",
        ] {
            assert_eq!(without_trailing_slash(&sent.parse().unwrap(), &FILES), None, "{sent}");
        }
    }
}
