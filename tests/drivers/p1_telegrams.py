"""Telegrams of P1 ports, with the values that stand in them, read by hand."""

from __future__ import annotations

# Netbeheer Nederland, P1 Companion Standard DSMR 5.0.2, "Representation of P1 telegram", without the text message. The
# checksum that is printed there does not fit the characters that are printed there; this one is of these characters.
DSMR_5 = rb"""/ISk5\2MT382-1000

1-3:0.2.8(50)
0-0:1.0.0(101209113020W)
0-0:96.1.1(4B384547303034303436333935353037)
1-0:1.8.1(123456.789*kWh)
1-0:1.8.2(123456.789*kWh)
1-0:2.8.1(123456.789*kWh)
1-0:2.8.2(123456.789*kWh)
0-0:96.14.0(0002)
1-0:1.7.0(01.193*kW)
1-0:2.7.0(00.000*kW)
0-0:96.7.21(00004)
0-0:96.7.9(00002)
1-0:99.97.0(2)(0-0:96.7.19)(101208152415W)(0000000240*s)(101208151004W)(0000000301*s)
0-0:96.13.0()
1-0:32.7.0(220.1*V)
1-0:52.7.0(220.2*V)
1-0:72.7.0(220.3*V)
1-0:31.7.0(001*A)
1-0:51.7.0(002*A)
1-0:71.7.0(003*A)
1-0:21.7.0(01.111*kW)
1-0:41.7.0(02.222*kW)
1-0:61.7.0(03.333*kW)
1-0:22.7.0(04.444*kW)
1-0:42.7.0(05.555*kW)
1-0:62.7.0(06.666*kW)
0-1:24.1.0(003)
0-1:24.2.1(101209112500W)(12785.123*m3)
!"""
DSMR_5_VALUES = {
    "w": 1193.0, "import_wh": 246_913_578.0, "export_wh": 246_913_578.0,
    "w_l1": -3333.0, "w_l2": -3333.0, "w_l3": -3333.0,
    "v_l1": 220.1, "v_l2": 220.2, "v_l3": 220.3, "a_l1": 1.0, "a_l2": 2.0, "a_l3": 3.0,
}  # fmt: skip

# A Belgian single-phase meter (e-MUCS-P1 1.7), recorded with its checksum.
BELGIUM = rb"""/FLU5\253770234_A

0-0:96.1.4(50217)
0-0:96.1.1(3153414731313030303537373239)
0-0:1.0.0(221220204556W)
1-0:1.8.1(003457.591*kWh)
1-0:1.8.2(004282.456*kWh)
1-0:2.8.1(000447.891*kWh)
1-0:2.8.2(000203.818*kWh)
0-0:96.14.0(0001)
1-0:1.4.0(00.032*kW)
1-0:1.6.0(221203174500W)(03.716*kW)
0-0:98.1.0(0)(1-0:1.6.0)(1-0:1.6.0)()
1-0:1.7.0(00.524*kW)
1-0:2.7.0(00.000*kW)
1-0:21.7.0(00.524*kW)
1-0:22.7.0(00.000*kW)
1-0:32.7.0(231.6*V)
1-0:31.7.0(002.72*A)
0-0:96.3.10(1)
0-0:17.0.0(999.9*kW)
1-0:31.4.0(999*A)
0-0:96.13.0()
0-1:24.1.0(003)
0-1:96.1.1(37464C4F32313139303938343332)
0-1:24.4.0(1)
0-1:24.2.3(221220203958W)(04761.307*m3)
!FCCF
"""
BELGIUM_VALUES = {
    "w": 524.0, "import_wh": 7_740_047.0, "export_wh": 651_709.0, "w_l1": 524.0, "v_l1": 231.6, "a_l1": 2.72,
}  # fmt: skip

# A Swedish three-phase meter (Branschrekommendation 1.2: totals instead of tariffs), recorded with its checksum.
SWEDEN = rb"""/ELL5\253833635_A

0-0:1.0.0(210407111627W)
1-0:1.8.0(00004788.631*kWh)
1-0:2.8.0(00000000.000*kWh)
1-0:3.8.0(00001203.621*kvarh)
1-0:4.8.0(00000150.940*kvarh)
1-0:1.7.0(0004.905*kW)
1-0:2.7.0(0000.000*kW)
1-0:3.7.0(0001.625*kvar)
1-0:4.7.0(0000.000*kvar)
1-0:21.7.0(0000.976*kW)
1-0:41.7.0(0001.882*kW)
1-0:61.7.0(0002.045*kW)
1-0:22.7.0(0000.000*kW)
1-0:42.7.0(0000.000*kW)
1-0:62.7.0(0000.000*kW)
1-0:23.7.0(0000.574*kvar)
1-0:43.7.0(0000.553*kvar)
1-0:63.7.0(0000.498*kvar)
1-0:24.7.0(0000.000*kvar)
1-0:44.7.0(0000.000*kvar)
1-0:64.7.0(0000.000*kvar)
1-0:32.7.0(233.6*V)
1-0:52.7.0(234.7*V)
1-0:72.7.0(233.7*V)
1-0:31.7.0(004.8*A)
1-0:51.7.0(008.3*A)
1-0:71.7.0(009.0*A)
!57B6
"""
SWEDEN_VALUES = {
    "w": 4905.0, "import_wh": 4_788_631.0, "export_wh": 0.0, "w_l1": 976.0, "w_l2": 1882.0, "w_l3": 2045.0,
    "v_l1": 233.6, "v_l2": 234.7, "v_l3": 233.7, "a_l1": 4.8, "a_l2": 8.3, "a_l3": 9.0,
}  # fmt: skip


def crc_by_division(data: bytes) -> int:
    """The remainder of the message by x^16 + x^15 + x^2 + 1, lowest bits first: not the driver's way."""
    message = int("".join(f"{byte:08b}"[::-1] for byte in data) + 16 * "0", 2)
    for shift in range(message.bit_length() - 17, -1, -1):
        if message >> (shift + 16) & 1:
            message ^= 0x18005 << shift
    return int(f"{message:016b}"[::-1], 2)


def sent(lines: bytes) -> bytes:
    """As it goes over the line: CR LF, and a checksum where there is none."""
    raw = lines.replace(b"\n", b"\r\n")
    return raw if not raw.endswith(b"!") else raw + b"%04X\r\n" % crc_by_division(raw)


def telegram(w: int = 1193, second: int = 20) -> bytes:
    """The Dutch one with another power, W > 0 import, and another second of its time."""
    lines = DSMR_5.replace(b"01.193*kW", b"%06.3f*kW" % (max(w, 0) / 1000))
    lines = lines.replace(b"-0:2.7.0(00.000*kW", b"-0:2.7.0(%06.3f*kW" % (max(-w, 0) / 1000))
    return sent(lines.replace(b"101209113020W", b"1012091130%02dW" % second))
