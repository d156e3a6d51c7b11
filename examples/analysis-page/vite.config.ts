import react from "@vitejs/plugin-react";
import { defineConfig, type ProxyOptions } from "vite";

// Page and service are one origin, in development and in the preview: no CORS.
const service: ProxyOptions = {
  target: process.env["VIDEO_TASKS_URL"] ?? "http://127.0.0.1:8080",
  configure(proxy) {
    // A gateway that does not reach its service says 502, and the page tries again.
    proxy.on("error", (_, __, response) => {
      if ("headersSent" in response && !response.headersSent) {
        response.writeHead(502, { "content-type": "text/plain" }).end("the service does not answer");
      }
    });
  },
};

const proxy = { "/api": service };

export default defineConfig({
  plugins: [react()],
  server: { host: "127.0.0.1", proxy },
  preview: { host: "127.0.0.1", proxy },
});
