import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Page } from "./Page.js";
import "./page.css";

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
