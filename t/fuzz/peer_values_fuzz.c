/* SPDX-License-Identifier: Apache-2.0 */

/*
 * peer_values_fuzz - the small values that peers send: authorities, addresses, grpc-timeout,
 * numbers, durations.  What is printed and read again is the same.
 */

#include "filter/chain.h"
#include "http/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_address(cn_bytes_t text)
{
    cn_address_t  address, again;
    char          printed[CN_ADDRESS_TEXT_MAX];
    size_t        len;

    if (cn_address_parse(text, &address) == CN_OK) {
        len = cn_address_print(&address, printed);
        CN_BUG_ON(len == 0 || len >= sizeof(printed));
        CN_BUG_ON(cn_address_parse(cn_bytes(printed, len), &again) != CN_OK);
        CN_BUG_ON(!cn_address_equal(&address, &again));
    }

    if (cn_address_parse_ip(text, &address) == CN_OK) {
        len = cn_address_print_ip(&address, printed);
        CN_BUG_ON(len == 0 || len >= sizeof(printed));
        CN_BUG_ON(cn_address_parse_ip(cn_bytes(printed, len), &again) != CN_OK);
        CN_BUG_ON(memcmp(address.ip, again.ip, sizeof(address.ip)) != 0);
    }
}


static void
check_authority(cn_bytes_t text)
{
    cn_bytes_t  host;
    uint16_t    port;

    if (cn_target_split(text, 80, &host, &port)) {
        CN_BUG_ON(host.len == 0 || host.len > text.len || host.ptr != text.ptr || port == 0);
    }
}


static void
check_timeout(cn_bytes_t text)
{
    char      printed[CN_GRPC_TIMEOUT_TEXT];
    uint64_t  ms, again;
    size_t    len;

    if (cn_grpc_timeout_parse(text, &ms) == CN_OK) {
        len = cn_grpc_timeout_print(ms, printed);
        CN_BUG_ON(len > sizeof(printed));
        CN_BUG_ON(cn_grpc_timeout_parse(cn_bytes(printed, len), &again) != CN_OK);
        CN_BUG_ON(again > ms);                  /* rounded down at most: no peer waits longer */
        CN_BUG_ON(ms <= 99999999u && again != ms);
    }
}


static void
check_numbers(cn_bytes_t text)
{
    uint64_t  value;
    char      printed[20];

    if (cn_bytes_to_u64(text, 65535, &value) == CN_OK) {
        CN_BUG_ON(value > 65535 || text.len == 0);
        CN_BUG_ON(cn_u64_print(value, printed) > text.len);
    }

    if (cn_bytes_to_duration_us(text, &value) == CN_OK) {
        CN_BUG_ON(text.len == 0);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_bytes_t  text = cn_bytes(data, size);

    check_address(text);
    check_authority(text);
    check_timeout(text);
    check_numbers(text);

    return 0;
}
