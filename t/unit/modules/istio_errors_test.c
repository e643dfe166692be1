/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every fault in a resource is told with file, line, resource and field.  A case is one resource
 * behind the base of istio.h; its lines are counted from 1 there.
 */

#include "istio.h"

typedef struct { const char *name; const char *yaml; const char *lines; } case_t;

#define SERVICE(spec)  "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: " spec "}\n"
#define VS(http)       "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web}, spec: {hosts: [web], http: " http "}}\n"
#define DR(spec)       "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web}, spec: " spec "}\n"
#define ROUTE(rules)   "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web}, spec: " \
                       "{parentRefs: [{group: \"\", kind: Service, name: web}], rules: " rules "}}\n"
#define POLICY(spec)   "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: " spec "}\n"
#define TARGET         "targetRefs: [{group: \"\", kind: Service, name: web}]"
#define TO_WEB         "route: [{destination: {host: web}}]"

static const case_t  cases[] = {
    { "not a resource", "[1]\n", "1:1: error: expected a resource, got a sequence\n" },
    { "no kind", "{apiVersion: v1}\n", "1:1: error: kind: is missing\n" },
    { "no name", "{apiVersion: v1, kind: Service, spec: {ports: []}}\n",
      "1:1: error: metadata.name: is missing\n" },
    { "a name in upper case", "{apiVersion: v1, kind: Pod, metadata: {name: Web}}\n",
      "1:40: error: metadata.name: \"Web\" is no name: lower case letters, digits, - and .\n" },
    { "a kind of no use, told once", "{apiVersion: v1, kind: Node, metadata: {name: a}}\n---\n"
      "{apiVersion: v1, kind: Node, metadata: {name: b}}\n",
      "1:1: warning: Node default/a: kind: Node of v1 is not used here and left out\n" },
    { "a resource twice", SERVICE("{ports: [{port: 1}]}") "---\n" SERVICE("{ports: [{port: 1}]}"),
      "3:1: error: Service default/db: metadata.name: is there twice, first at FILE:1\n" },

    { "a port out of range", SERVICE("{ports: [{port: 70000}]}"),
      "1:71: error: Service default/db: spec.ports[0].port: 70000 is not in 1..65535\n" },
    { "a port that is a string", SERVICE("{ports: [{port: \"80\"}]}"),
      "1:71: error: Service default/db: spec.ports[0].port: expected a whole number, got the string \"80\"\n" },
    { "a port twice", SERVICE("{ports: [{name: http, port: 80}, {name: tcp, port: 80}]}"),
      "1:94: error: Service default/db: spec.ports[1].port: port 80 is there twice\n" },
    { "no address", SERVICE("{clusterIP: 10.96.0.999, ports: [{port: 80}]}"),
      "1:62: error: Service default/db: spec.clusterIP: \"10.96.0.999\" is no IP address\n" },
    { "an unknown field of a Service", SERVICE("{prots: [], ports: [{port: 80}]}"),
      "1:62: warning: Service default/db: spec.prots: unknown field\n" },
    { "ports that are no list", SERVICE("{ports: {port: 80}}"),
      "1:62: error: Service default/db: spec.ports: expected a sequence, got a mapping\n" },
    { "a label that is a number", "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: 1}}}\n",
      "1:58: error: Pod default/a: metadata.labels.app: expected a string, got \"1\"\n" },

    { "an unknown host", "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [wbe]}}\n",
      "1:96: error: VirtualService default/a: spec.hosts[0]: there is no service wbe.default.svc.cluster.local\n" },
    { "a VirtualService of a gateway", "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, "
      "spec: {hosts: [x.example.com], gateways: [ingress], http: [{nonsense: 1}]}}\n",
      "1:1: note: VirtualService default/a: spec.gateways: is bound to gateways other than mesh alone, and skipped\n" },
    { "no destination", VS("[{name: a}]"),
      "1:111: error: VirtualService default/web: spec.http[0].route: is missing\n" },
    { "a dangling destination", VS("[{route: [{destination: {host: nowhere}}]}]"),
      "1:135: warning: VirtualService default/web: spec.http[0].route[0].destination.host: there is no service "
      "nowhere.default.svc.cluster.local: its share is answered 503\n" },
    { "a dangling subset", VS("[{route: [{destination: {host: web, subset: v9}}]}]"),
      "1:146: warning: VirtualService default/web: spec.http[0].route[0].destination.subset: no DestinationRule of "
      "web.default.svc.cluster.local has a subset v9: its share is answered 503\n" },
    { "a port that the service has not", VS("[{route: [{destination: {host: web, port: {number: 81}}}]}]"),
      "1:153: warning: VirtualService default/web: spec.http[0].route[0].destination.port.number: service "
      "web.default.svc.cluster.local has no port 81: its share is answered 503\n" },
    { "weights of nothing", VS("[{route: [{destination: {host: web}, weight: 0}, {destination: {host: web}}]}]"),
      "1:112: error: VirtualService default/web: spec.http[0].route: all weights are 0\n" },
    { "a negative weight", VS("[{route: [{destination: {host: web}, weight: -1}]}]"),
      "1:147: error: VirtualService default/web: spec.http[0].route[0].weight: -1 is not in 0..1000000\n" },
    { "a field that is not implemented", VS("[{corsPolicy: {}, " TO_WEB "}]"),
      "1:112: error: VirtualService default/web: spec.http[0].corsPolicy: is not implemented\n" },
    { "a rewrite without a slash", VS("[{rewrite: {uri: x}, " TO_WEB "}]"),
      "1:122: error: VirtualService default/web: spec.http[0].rewrite.uri: a path begins with /\n" },
    { "a rewrite with a line end", VS("[{rewrite: {uri: \"/a\\r\\nb\"}, " TO_WEB "}]"),
      "1:122: error: VirtualService default/web: spec.http[0].rewrite.uri: is no path: blanks, controls, # and what is not "
      "ASCII are percent-encoded\n" },
    { "a rewrite of nothing", VS("[{rewrite: {}, " TO_WEB "}]"),
      "1:112: error: VirtualService default/web: spec.http[0].rewrite: needs one of uri, authority, uriRegexRewrite\n" },
    { "a substitution of a group that is not there", VS("[{rewrite: {uriRegexRewrite: {match: a, rewrite: \"\\\\1\"}}, " TO_WEB "}]"),
      "1:122: error: VirtualService default/web: spec.http[0].rewrite.uriRegexRewrite: is no pattern of RE2: at octet 0: the "
      "substitution names a group that the pattern does not have\n" },
    { "an authority with a blank", VS("[{rewrite: {authority: \"a b\"}, " TO_WEB "}]"),
      "1:122: error: VirtualService default/web: spec.http[0].rewrite.authority: \"a b\" is no host with or without a port\n" },
    { "a redirect and a route", VS("[{redirect: {uri: /x}, " TO_WEB "}]"),
      "1:111: error: VirtualService default/web: spec.http[0]: redirect, directResponse, and route with rewrite do not go "
      "together\n" },
    { "a redirect to nowhere", VS("[{redirect: {redirectCode: 302}}]"),
      "1:112: error: VirtualService default/web: spec.http[0].redirect: needs one of uri, authority, scheme, port\n" },
    { "a redirect with 200", VS("[{redirect: {uri: /x, redirectCode: 200}}]"),
      "1:132: error: VirtualService default/web: spec.http[0].redirect.redirectCode: 200 is none of 301, 302, 303, 307, 308\n" },
    { "a redirect to another protocol", VS("[{redirect: {scheme: ftp}}]"),
      "1:123: error: VirtualService default/web: spec.http[0].redirect.scheme: \"ftp\" is none of http, https\n" },
    { "a redirect with two ports", VS("[{redirect: {port: 1, derivePort: FROM_REQUEST_PORT}}]"),
      "1:132: error: VirtualService default/web: spec.http[0].redirect.derivePort: port is there too\n" },
    { "a redirect by prefix, which istiod does not make", VS("[{redirect: {uri: \"%PREFIX()%/x\"}}]"),
      "1:123: warning: VirtualService default/web: spec.http[0].redirect.uri: %PREFIX()% has no meaning in a VirtualService: "
      "the redirect is answered 500\n" },
    { "a direct response without a status", VS("[{directResponse: {}}]"),
      "1:112: error: VirtualService default/web: spec.http[0].directResponse.status: is missing\n" },
    { "a direct response that goes on", VS("[{directResponse: {status: 100}}]"),
      "1:129: error: VirtualService default/web: spec.http[0].directResponse.status: 100 is not in 200..599\n" },
    { "octets that are not base64", VS("[{directResponse: {status: 200, body: {bytes: \"a-b=\"}}}]"),
      "1:149: error: VirtualService default/web: spec.http[0].directResponse.body.bytes: is not base64\n" },
    { "a body twice", VS("[{directResponse: {status: 200, body: {string: a, bytes: YQ==}}}]"),
      "1:142: error: VirtualService default/web: spec.http[0].directResponse.body: has both string and bytes\n" },
    { "an unknown field of a route", VS("[{timeuot: 2s, " TO_WEB "}]"),
      "1:112: warning: VirtualService default/web: spec.http[0].timeuot: unknown field\n" },
    { "an unknown field of a match", VS("[{match: [{url: {exact: /}}], " TO_WEB "}]"),
      "1:121: error: VirtualService default/web: spec.http[0].match[0].url: unknown field\n" },
    { "an unknown kind of string match", VS("[{match: [{uri: {exakt: /}}], " TO_WEB "}]"),
      "1:121: error: VirtualService default/web: spec.http[0].match[0].uri: needs one of exact, prefix, regex\n"
      "1:127: error: VirtualService default/web: spec.http[0].match[0].uri.exakt: unknown field\n" },
    { "a pattern that RE2 refuses", VS("[{match: [{uri: {regex: \"/a(?=b)\"}}], " TO_WEB "}]"),
      "1:127: error: VirtualService default/web: spec.http[0].match[0].uri.regex: is no pattern of RE2: at octet 2: "
      "look-ahead is not in RE2\n" },
    { "a pattern of a header", VS("[{match: [{headers: {x: {regex: \"(a\"}}}], " TO_WEB "}]"),
      "1:135: error: VirtualService default/web: spec.http[0].match[0].headers.x.regex: is no pattern of RE2: at octet 0: "
      "a group is not closed\n" },
    { "two kinds of match at once", VS("[{match: [{uri: {exact: /a, regex: /a}}], " TO_WEB "}]"),
      "1:121: error: VirtualService default/web: spec.http[0].match[0].uri: has more than one of exact, prefix, regex\n" },
    { "clients by their namespace", VS("[{match: [{sourceNamespace: a}], " TO_WEB "}]"),
      "1:121: warning: VirtualService default/web: spec.http[0].match[0].sourceNamespace: istiod does not heed it for a "
      "waypoint: clients of all namespaces match\n" },
    { "a path without a slash", VS("[{match: [{uri: {exact: x}}], " TO_WEB "}]"),
      "1:121: error: VirtualService default/web: spec.http[0].match[0].uri: a path begins with /\n" },
    { "a duration without a unit", VS("[{timeout: 2, " TO_WEB "}]"),
      "1:112: error: VirtualService default/web: spec.http[0].timeout: expected a duration such as 2s or 250ms, got \"2\"\n" },
    { "an unknown retry condition", VS("[{retries: {attempts: 1, retryOn: \"5xx,sometimes\"}, " TO_WEB "}]"),
      "1:135: error: VirtualService default/web: spec.http[0].retries.retryOn: \"sometimes\" is no condition that is implemented\n" },
    { "a fault without a fault", VS("[{fault: {}, " TO_WEB "}]"),
      "1:112: error: VirtualService default/web: spec.http[0].fault: needs one of delay, abort\n" },
    { "a fault over 100 percent", VS("[{fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}, " TO_WEB "}]"),
      "1:157: error: VirtualService default/web: spec.http[0].fault.delay.percentage.value: 101 is not in 0..100\n" },
    { "an abort without a status", VS("[{fault: {abort: {percentage: {value: 1}}}, " TO_WEB "}]"),
      "1:120: error: VirtualService default/web: spec.http[0].fault.abort: needs one of httpStatus, grpcStatus\n" },
    { "a header that frames", VS("[{headers: {request: {set: {content-length: \"0\"}}}, " TO_WEB "}]"),
      "1:138: error: VirtualService default/web: spec.http[0].headers.request.set.content-length: a change of header "
      "content-length is not implemented\n" },
    { "a command in a header that we do not know", VS("[{headers: {request: {set: {x: \"%FILTER_STATE(a)%\"}}}, " TO_WEB "}]"),
      "1:138: error: VirtualService default/web: spec.http[0].headers.request.set.x: the command %FILTER_STATE% is not "
      "implemented\n" },
    { "a percent sign alone", VS("[{headers: {request: {set: {x: \"50%\"}}}, " TO_WEB "}]"),
      "1:138: error: VirtualService default/web: spec.http[0].headers.request.set.x: a percent sign is written %%, and a "
      "command %NAME%, %NAME(argument)% or %NAME(argument):length%\n" },
    { "a host that is added", VS("[{headers: {request: {add: {host: a}}}, " TO_WEB "}]"),
      "1:138: error: VirtualService default/web: spec.http[0].headers.request.add.host: a change of header host is not "
      "implemented\n" },
    { "a line end in a header", VS("[{headers: {response: {add: {x: \"a\\r\\nb\"}}}, " TO_WEB "}]"),
      "1:139: error: VirtualService default/web: spec.http[0].headers.response.add.x: is no header value: control characters, or "
      "more than 16 KiB\n" },
    { "a VirtualService of TCP", "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, "
      "spec: {hosts: [web], tcp: []}}\n",
      "1:102: error: VirtualService default/a: spec.tcp: is not implemented\n" },

    { "an unknown balancer", DR("{host: web, trafficPolicy: {loadBalancer: {simple: FASTEST}}}"),
      "1:133: error: DestinationRule default/web: spec.trafficPolicy.loadBalancer.simple: \"FASTEST\" is no load balancer\n" },
    { "outlier detection", DR("{host: web, trafficPolicy: {outlierDetection: {}}}"),
      "1:118: error: DestinationRule default/web: spec.trafficPolicy.outlierDetection: is not implemented\n" },
    { "TLS to the backend", DR("{host: web, trafficPolicy: {tls: {mode: SIMPLE}}}"),
      "1:124: error: DestinationRule default/web: spec.trafficPolicy.tls.mode: SIMPLE is not implemented\n" },
    { "a subset twice", DR("{host: web, subsets: [{name: a}, {name: a}]}"),
      "1:123: error: DestinationRule default/web: spec.subsets[1].name: subset a is there twice\n" },
    { "a rule of no service", DR("{host: nowhere}"),
      "1:91: error: DestinationRule default/web: spec.host: there is no service nowhere.default.svc.cluster.local\n" },

    { "a backend of no service", ROUTE("[{backendRefs: [{name: nowhere, port: 80}]}]"),
      "1:168: warning: HTTPRoute default/web: spec.rules[0].backendRefs[0].name: there is no service "
      "nowhere.default.svc.cluster.local: its share is answered 500\n" },
    { "a backend without a port", ROUTE("[{backendRefs: [{name: web}]}]"),
      "1:167: error: HTTPRoute default/web: spec.rules[0].backendRefs[0].port: is missing\n" },
    { "a filter that is not implemented",
        ROUTE("[{filters: [{type: CORS}], backendRefs: [{name: web, port: 80}]}]"),
      "1:164: error: HTTPRoute default/web: spec.rules[0].filters[0].type: CORS is not implemented\n" },
    { "a rewrite that says nothing", ROUTE("[{filters: [{type: URLRewrite}], backendRefs: [{name: web, port: 80}]}]"),
      "1:163: error: HTTPRoute default/web: spec.rules[0].filters[0].urlRewrite: is missing\n" },
    { "a prefix of a path that has none",
        ROUTE("[{matches: [{path: {type: Exact, value: /x}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: "
              "ReplacePrefixMatch, replacePrefixMatch: /}}}], backendRefs: [{name: web, port: 80}]}]"),
      "1:163: error: HTTPRoute default/web: spec.rules[0].matches[0].path: ReplacePrefixMatch needs a path of type "
      "PathPrefix\n" },
    { "a redirect with backends",
        ROUTE("[{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}], backendRefs: [{name: web, port: 80}]}]"),
      "1:223: error: HTTPRoute default/web: spec.rules[0].backendRefs: a rule that redirects has no backends\n" },
    { "two filters that redirect or rewrite",
        ROUTE("[{filters: [{type: URLRewrite, urlRewrite: {hostname: a}}, {type: URLRewrite, urlRewrite: {hostname: b}}], "
              "backendRefs: [{name: web, port: 80}]}]"),
      "1:210: error: HTTPRoute default/web: spec.rules[0].filters[1]: a rule has one RequestRedirect or URLRewrite\n" },
    { "hosts of a route of a Service",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web}, spec: {hostnames: [a], parentRefs: "
        "[{group: \"\", kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}}\n",
      "1:91: warning: HTTPRoute default/web: spec.hostnames: of a Service's routes they say nothing: requests of all hosts "
      "match\n" },
    { "a section that the service has not",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web}, spec: {parentRefs: "
        "[{group: \"\", kind: Service, name: web, sectionName: grpc}], rules: [{backendRefs: [{name: web, port: 80}]}]}}\n",
      "1:142: error: HTTPRoute default/web: spec.parentRefs[0].sectionName: service web.default.svc.cluster.local has no such "
      "port of the name grpc\n" },
    { "a misspelt match", ROUTE("[{matches: [{paht: {value: /x}}], backendRefs: [{name: web, port: 80}]}]"),
      "1:164: error: HTTPRoute default/web: spec.rules[0].matches[0].paht: unknown field\n" },
    { "a pattern that RE2 refuses", ROUTE("[{matches: [{path: {type: RegularExpression, value: \"a**\"}}], backendRefs: [{name: web, port: 80}]}]"),
      "1:196: error: HTTPRoute default/web: spec.rules[0].matches[0].path.value: is no pattern of RE2: at octet 2: a repetition "
      "of a repetition (possessive or doubled)\n" },
    { "a kind of path match", ROUTE("[{matches: [{path: {type: Glob, value: /x}}], backendRefs: [{name: web, port: 80}]}]"),
      "1:171: error: HTTPRoute default/web: spec.rules[0].matches[0].path.type: Glob is none of Exact, PathPrefix, "
      "RegularExpression\n" },

    { "a misspelt from", POLICY("{" TARGET ", rules: [{form: [{source: {namespaces: [a]}}]}]}"),
      "1:153: error: AuthorizationPolicy default/p: spec.rules[0].form: unknown field\n" },
    { "a condition that is not implemented",
        POLICY("{" TARGET ", rules: [{when: [{key: request.auth.principal, values: [a]}]}]}"),
      "1:161: error: AuthorizationPolicy default/p: spec.rules[0].when[0].key: the attribute "
      "\"request.auth.principal\" is not implemented\n" },
    { "request principals", POLICY("{" TARGET ", rules: [{from: [{source: {requestPrincipals: [a]}}]}]}"),
      "1:170: error: AuthorizationPolicy default/p: spec.rules[0].from[0].source.requestPrincipals: is not implemented\n" },
    { "an empty source", POLICY("{" TARGET ", rules: [{from: [{source: {}}]}]}"),
      "1:161: error: AuthorizationPolicy default/p: spec.rules[0].from[0].source: has no condition\n" },
    { "an empty list", POLICY("{" TARGET ", rules: [{from: [{source: {principals: []}}]}]}"),
      "1:170: error: AuthorizationPolicy default/p: spec.rules[0].from[0].source.principals: is empty\n" },
    { "a port that is none", POLICY("{" TARGET ", rules: [{to: [{operation: {ports: [http]}}]}]}"),
      "1:179: error: AuthorizationPolicy default/p: spec.rules[0].to[0].operation.ports[0]: \"http\" is no port in 1..65535\n" },
    { "a range that is none", POLICY("{" TARGET ", rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]}"),
      "1:181: error: AuthorizationPolicy default/p: spec.rules[0].from[0].source.ipBlocks[0]: \"10.0.0.0/33\" is no IP address and "
      "no range\n" },
    { "a path template", POLICY("{" TARGET ", rules: [{to: [{operation: {paths: [\"/a/{b}\"]}}]}]}"),
      "1:179: error: AuthorizationPolicy default/p: spec.rules[0].to[0].operation.paths[0]: \"/a/{b}\" is no path template: expected segments, {*} for any one, {**} once for any rest\n" },
    { "an unknown action", POLICY("{" TARGET ", action: DENIED}"),
      "1:144: error: AuthorizationPolicy default/p: spec.action: \"DENIED\" is no action: expected ALLOW, DENY or AUDIT\n" },
    { "an action that is not implemented", POLICY("{" TARGET ", action: CUSTOM}"),
      "1:144: error: AuthorizationPolicy default/p: spec.action: CUSTOM is not implemented\n" },
    { "a target that is not there", POLICY("{targetRefs: [{group: \"\", kind: Service, name: wbe}]}"),
      "1:131: error: AuthorizationPolicy default/p: spec.targetRefs[0].name: there is no Service default/wbe\n" },
    { "a target of another kind", POLICY("{targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a}]}"),
      "1:139: error: AuthorizationPolicy default/p: spec.targetRefs[0].kind: a target of kind HTTPRoute of "
      "gateway.networking.k8s.io is not implemented\n" },
    { "a ServiceEntry that is not there", POLICY("{targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: a}]}"),
      "1:153: error: AuthorizationPolicy default/p: spec.targetRefs[0].name: there is no ServiceEntry default/a\n" },
    { "a policy by selector", POLICY("{selector: {matchLabels: {app: web}}, rules: [{}]}"),
      "1:91: warning: AuthorizationPolicy default/p: spec.selector: without targetRefs the policy is for the workloads' own "
      "ztunnel: a waypoint does not apply it\n" },
    { "an unknown field beside spec", "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, "
      "spec: {" TARGET "}, sepc: {}}\n",
      "1:145: warning: AuthorizationPolicy default/p: sepc: unknown field\n" },
};


/* The lines behind the base, with its line numbers taken off and its file called FILE. */
static const char *
own_lines(istio_t *istio)
{
    const char  *all = "";

    CN_ARRAY_EACH(&istio->report->entries, const cn_report_entry_t, entry) {
        cn_report_entry_t  own = *entry;
        char               text[1024];
        const char        *at = strstr(entry->text, istio->path);

        if (entry->line <= ISTIO_BASE_LINES) {
            own.line += 1000;               /* not where it should be */
        }

        snprintf(text, sizeof(text), "%s", entry->text);

        if (at != NULL) {
            unsigned  line = (unsigned) atoi(at + strlen(istio->path) + 1);

            snprintf(text, sizeof(text), "%.*sFILE:%u", (int) (at - entry->text), entry->text,
                     line - ISTIO_BASE_LINES);
        }

        own.line -= ISTIO_BASE_LINES;
        own.text = text;
        own.file = "F";
        all = cn_pool_printf(istio->pool, "%s%s\n", all, cn_report_line(&own, istio->pool) + 2);
        assert_non_null(all);
    }

    return all;
}


static void
each_fault_is_told_with_its_place(void **state)
{
    bool  all = true;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        istio_t      istio;
        const char  *lines;

        istio_open(&istio);
        istio_read(&istio, ISTIO_BASE, cases[i].yaml);
        lines = own_lines(&istio);

        if (strcmp(lines, cases[i].lines) != 0) {
            print_error("%s:\n%s  expected:\n%s", cases[i].name, lines, cases[i].lines);
            all = false;
        }

        unit_check(istio.status == CN_OK, cases[i].name);       /* contained: the rest is there */
        istio_close(&istio);
    }

    assert_true(all);
}


static void
without_a_waypoint_or_a_service_there_is_no_model(void **state)
{
    static const case_t  none[] = {
        { "nothing at all", "", "FILE: error: has no Gateway of class istio-waypoint\n" },
        { "a waypoint alone",
          "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w}, spec: {gatewayClassName: istio-waypoint}}\n",
          "FILE: error: has no service that uses the waypoint (label istio.io/use-waypoint)\n" },
        { "two waypoints",
          "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w}, spec: {gatewayClassName: istio-waypoint}}\n"
          "---\n"
          "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: x}, spec: {gatewayClassName: istio-waypoint}}\n",
          "FILE: error: has more than one Gateway of class istio-waypoint: say which with `waypoint`\n" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(none); i++) {
        istio_t      istio;
        const char  *line;

        istio_open(&istio);
        istio_read(&istio, none[i].yaml, "");
        unit_check(istio.status != CN_OK && istio.model == NULL, none[i].name);
        line = cn_pool_printf(istio.pool, "FILE:%s", istio_lines(&istio));
        unit_check(line != NULL && strcmp(line, none[i].lines) == 0, none[i].name);
        istio_close(&istio);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_fault_is_told_with_its_place),
        cmocka_unit_test(without_a_waypoint_or_a_service_there_is_no_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
