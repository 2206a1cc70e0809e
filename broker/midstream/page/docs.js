// Shows the API on `/docs`. A file of its own, because the page's policy allows no script inside it.
"use strict";

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // it is another host's
  showExtensions: true,
  presets: [window.SwaggerUIBundle.presets.apis],
});
