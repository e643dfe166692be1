# SPDX-License-Identifier: Apache-2.0
"""nginx's configuration: a plain reverse proxy with kept connections on both sides."""

from . import places

TEMPLATE = """\
daemon off;
master_process on;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {run}/nginx.pid;
error_log {run}/nginx.log warn;

events {{
    worker_connections 8192;
}}

http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;

    client_body_temp_path {run}/nginx-body;
    proxy_temp_path {run}/nginx-proxy;
    fastcgi_temp_path {run}/nginx-fastcgi;
    uwsgi_temp_path {run}/nginx-uwsgi;
    scgi_temp_path {run}/nginx-scgi;

    upstream app {{
        server {pod}:{app_port};
        keepalive 512;
        keepalive_requests 1000000000;
    }}

    server {{
        listen 127.0.0.1:{port} backlog=4096;

        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def write(path, port, pod, workers):
    text = TEMPLATE.format(run=places.RUN, workers=workers, port=port, pod=pod,
                           app_port=places.APP_PORT)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
