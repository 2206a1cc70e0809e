import { defineConfig } from "vite";

const broker = {
  target: process.env.MIDSTREAM_URL ?? "http://127.0.0.1:8080",
  changeOrigin: true,
  configure(proxy) {
    // Vite's proxy keeps a response open when the broker that it leads to is gone; a page can only resume what was cut.
    proxy.on("proxyRes", (answer, _request, response) => answer.on("close", () => answer.complete || response.destroy()));
  },
};

export default defineConfig({
  esbuild: { jsx: "automatic" },
  // One origin for page and broker: no CORS, and the module comes from the broker that it talks to.
  server: { hmr: false, proxy: { "/api": broker, "/v1": broker, "/midstream": broker } },
});
