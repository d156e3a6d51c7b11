/** The HTTP cases on the memory store. */
import { memoryStore } from "idemp/memory";
import { runAll, runAlone } from "./run.js";

const store = memoryStore();
runAll(() => store);
runAlone(() => store);
