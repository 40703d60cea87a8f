"""All forms, by name."""

from pointwise.compression.forms.axis import AxisForm
from pointwise.compression.forms.form import Form
from pointwise.compression.forms.input import InputForm
from pointwise.compression.forms.output import OutputForm
from pointwise.compression.forms.tucker import TuckerForm

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        OutputForm(),
        InputForm(),
        AxisForm(0),
        AxisForm(1),
        AxisForm(2),
        TuckerForm(),
    )
}
"""A new form goes here; "leave it" is none of them, as it is always there."""
