# The server, built from the lock file. It was not built where it was written: docker build -t conductor .
# docker run -p 8787:8787 -v conductor:/data -e ANTHROPIC_API_KEY conductor
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY sql sql
RUN npm run build && npm prune --omit=dev

FROM node:24-slim
ENV NODE_ENV=production CONDUCTOR_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY --from=build /app/sql sql
COPY --from=build /app/src/dashboard src/dashboard
COPY --from=build /app/src/plugins/demo/dealers.csv src/plugins/demo/dealers.csv
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8787
HEALTHCHECK CMD ["node", "-e", "fetch('http://127.0.0.1:8787/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve", "--host", "0.0.0.0"]
