/** Markup that holds only what Markdown can make, whatever a model wrote. */

import "./vendor/dompurify.js";

/** What a link may lead to. */
export const SAFE_LINK = /^(?:https?|mailto):/i;
const TAGS = "a blockquote br code em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul";
const ATTRIBUTES = ["align", "class", "rel", "start", "target", "title"];
const ONLY = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ["href", ...ATTRIBUTES],
  ALLOWED_URI_REGEXP: SAFE_LINK,
  ADD_URI_SAFE_ATTR: ATTRIBUTES,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** Returns a fragment of the markup without all that is not allowed. */
export function pure(markup) {
  return globalThis.DOMPurify.sanitize(markup, ONLY);
}
