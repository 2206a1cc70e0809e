/** What an address of the console names, and the addresses of what it shows. */

const ROOT = "/console";

/**
 * Reads an address.
 * @returns `{page, section, title, key, params}`, of a stream also `{tenant, id}`. Addresses with the same `key` are of
 *   one page, which follows the other parts of its address by itself.
 */
export function placeOf({ pathname, search }) {
  const params = new URLSearchParams(search);
  const [, , page = "", tenant, id] = pathname.split("/");
  const named = (name, title) => ({ page: name, section: `${ROOT}/${name}`, title, key: name, params });
  if (page === "streams" && id) {
    const stream = { tenant: decoded(tenant), id: decoded(id) };
    return { ...named("streams", stream.id), ...stream, page: "stream", key: `${tenant}/${id}` };
  }
  if (page === "streams") return named("streams", "Streams");
  if (page === "processes") return named("processes", "Processes");
  if (page === "audit") return named("audit", "Audit");
  return { ...named("overview", "Overview"), section: ROOT };
}

export function streamAddress(tenant, id) {
  return `${ROOT}/streams/${encodeURIComponent(tenant)}/${encodeURIComponent(id)}`;
}

/** The address of the list with these conditions: pairs of names and values. */
export function listAddress(conditions) {
  const query = new URLSearchParams(conditions).toString();
  return `${ROOT}/streams${query && `?${query}`}`;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
