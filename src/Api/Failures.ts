import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"

/** Answers every error in one shape: its encoded form and its message. */
export class Failures extends HttpApiMiddleware.Service<Failures>()("conductor-ai/Api/Failures") {}
