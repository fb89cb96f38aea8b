// Starts Swagger UI or Redoc over our own OpenAPI document, without a validator, a CDN, a worker or stored tokens.

const swagger = document.getElementById("swagger-ui");
if (swagger) {
  const paint = () => document.documentElement.classList.toggle("dark-mode", document.documentElement.dataset.bsTheme === "dark");
  document.addEventListener("bn:theme", paint);
  paint();
  SwaggerUIBundle({
    url: swagger.dataset.spec,
    domNode: swagger,
    validatorUrl: null,
    persistAuthorization: false,
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis],
  });
}

const redoc = document.getElementById("redoc");
if (redoc) {
  // The search runs in a worker made from a blob, which the policy refuses.
  Redoc.init(redoc.dataset.spec, { disableSearch: true, hideDownloadButton: false, nativeScrollbars: true }, redoc);
}
