"""What customers type about themselves into free text, remembered for a search afterwards. All of it is invented."""

from __future__ import annotations

import random

from stdnum import iban, luhn

from edgeloop.app.simulator import said

_FIRST = ("anna", "jonas", "marie", "luc", "ines", "tom", "sofia", "paul", "nora", "emil")
_LAST = ("winter", "keller", "moreau", "silva", "brandt", "fischer", "dubois", "costa", "lang", "berg")
_WAYS = (
    "{remark} Call me on {phone}.",
    "{remark} My mail is {email}, please answer.",
    "{remark} Refund to {iban} please.",
    "{remark} I paid with card {card}.",
    "{remark} My customer number is {cid}.",
)


class Remarks:
    """Writes remarks; ``planted`` collects every piece of personal data put into them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.planted: list[str] = []

    def customer(self, rating: int, cid: str, personal: bool) -> str:
        """A remark that fits the rating (1–5), with personal data in it where asked for."""
        remark = said.customer(self._rng, rating)
        return self._with_personal_data(remark, cid) if personal else remark

    def agent(self) -> str:
        """A delivery agent's remark."""
        return said.agent(self._rng)

    def phone(self) -> str:
        """An invented phone number, remembered as planted."""
        digits = "".join(self._rng.choices("0123456789", k=8))
        number = self._rng.choice((f"+49 151 {digits}", f"0151/{digits}", f"(0170) {digits[:4]}-{digits[4:]}"))
        self.planted.append(number)
        return number

    def email(self) -> str:
        """An invented address, remembered as planted."""
        address = f"{self._rng.choice(_FIRST)}.{self._rng.choice(_LAST)}{self._rng.randrange(10, 99)}@example.org"
        self.planted.append(address)
        return address

    def _with_personal_data(self, remark: str, cid: str) -> str:
        way = self._rng.choice(_WAYS)
        found = {}
        if "{phone}" in way:
            found["phone"] = self.phone()
        if "{email}" in way:
            found["email"] = self.email()
        if "{iban}" in way:
            found["iban"] = self._iban()
        if "{card}" in way:
            found["card"] = self._card()
        return way.format(remark=remark, cid=cid, **found)

    def _card(self) -> str:
        body = "4" + "".join(self._rng.choices("0123456789", k=14))
        number = body + luhn.calc_check_digit(body)
        shown = " ".join(number[i : i + 4] for i in range(0, 16, 4)) if self._rng.random() < 0.5 else number
        self.planted.append(shown)
        return shown

    def _iban(self) -> str:
        account = "".join(self._rng.choices("0123456789", k=18))
        number = "DE" + iban.calc_check_digits(f"DE00{account}") + account
        shown = iban.format(number) if self._rng.random() < 0.5 else number
        self.planted.append(shown)
        return shown
