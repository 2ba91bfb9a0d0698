namespace Legato.Runtime.Text.Unicode;

internal static partial class Scripts
{
    // Derived from Scripts.txt of Unicode (Unicode licence v3): deflated, then base 64.
    // The count of runs; each the step from the end of the last, its length, and its script by number. All LEB128.
    private const string Packed =
        """
        bVZbbJzFFT7fmZn/tjdf1uvx2uvdGGft7K53N7GddRw72cR44zhcHBKSEIwTSEjaQIHWkLaEiwuG0BACIZRAaENACLVVVbVS1Qr1hVat+tBW4qFFbdWH
        qg99RH2o+obU8/+2BK0qnXPmm3Nmduc/c+ab+blLuyxlW+REtmYJLUpF1ljqbhEs5SP7C9WiIUsmCnCc0pYeaZAuhzFV5jWAssY6WPMDZaTL2FmmZA+1
        lek55Igb9D3kUNS8RbPSaIx5vWPaGYsZFU5yIpuMrIpsIbKBoliDsoIb9GDkGVCUvABMXQCrC6C6oi3fQnL7/azup+pTnHoKffsZ+xG7ADOgzL5oUk7R
        /jzpBqXyxPLRggN4AXPAmQBuAARKB+xHHh14CDQHMAH3BKyqcKqaq5ypwq2C14VRhYn8qqpQdXUVYturgarAr0BspgK3Aq7AVDiIPKrCqKR0heMVV0Jq
        Gd4y8zJnluEug5dhltmPPGrZVct6zdOxHPBlwLkMpaTV0oZ9iPIaDv0qfhnafDaGJe6IJrsuwyReA5Rot2jba2B/va9fg8vrWFqWPgfikzglpqCm0D2F
        YApmiv2oq6dcnjIR4CD0xBMLUAsYjayzoNsWOCt4FehYhbLS+qJYBbvSl1Y7a314q3AC8cvY+OTr0LJNfa9jI88CszCzsBHonmUTAXcWwSzr2cLcVWDw
        KvTQWouUqHsVpKVCr2LjDRyj4hAwZDDE5aFw9/UQrXCd9hahi+wWgQhsiuyG/3amitgWgZkiF4oqW3QOZdjJ8Ippp9wX1L4nSVmKPelmXoSPF0FdW6Se
        /HRbPHFRsijKFxFf2s3BbkeEF8Nqw2K4iPSic9eiW140rfYgP4f4nBbBnIrPUf9LYPMSYpUTOnvCiZ1QfIIKu6kvxZyinZeA3CVw7JKkSzQpuNrgeCN9
        q4MtDjVfAI35nvZpYo9K7VFqD9W/SLGcKQ+xGiLvBXiqES4gEVm3ESZKTpMTWfkaDv2mKEdcjm+ONkdARzbRCj2tVniymw1JYosyZXbKXIysF530NcmX
        ebyMVBnJMITOMgsP+GXEoz84bBEL+YVj61yDREsN2OSGRqoY8Ua4joiPJNob2XZLm1ri19eMzcRs1w3XygKS9C9t+YJ8yPFhKrTo0R7j9ny23xNvSD2/
        gSTeAHUXfdnW/yuFHC3ZgWwNd9XiH6OW7ZJ/rEUMVqMeS34tpAqpGE9qR7DFoXGWr5C9VOPhsKPTEZ425TiW6mgTtopT0foSapumfB1NIdA67bdUmw7H
        H5mm70rz4WiNJLLynvzNS/47UI134Nf30Q/420gfz9ER1xuwdCr8arqjlU61aOSbUIF1Jr7utZ724k87hTxVd0YL3UmDT8TwBOXq6rZJhEw5qXmS8sfQ
        6PKTXRx0se6iwjGaeVl292VJx6HAKXIk63kpRxTvR7sr+81WL2SoeoiDQ857h+vx7rreXF/d/QnX+Eyt6LbiRpvsGMwYMAaOJBijT4StJRevQBXaFLU1
        SJablFTl6CaLTgtttVE4LzQFi8Lnbh2phCBKzkiUzHxdOXVeE1VXroVrA2M5Po/sPDrnwfNIzXNyfuDcvJGqGLHKt3R7GQmrUK6NhNX8DHK3qM0dKanr
        XqsHH/DVA9S7yZS/ZPrfEs55CzT4kE4+VFrop/o3QP2PcfCYM/ioFhke9MY6Y+ik2HeEUURdURb9n/7Mz3ivn9kbeHut00KpBb816/QyelHpBfcqhJgy
        W+FvpcJXKX/c84/XO0fBo8aMUt/jCo9T9laDW5uFu8ge0ekjXD1CugluGq8J1USuyaqpg6brN93CI1R4sDB0h47f4W81yjWU2cbeNuqcMN4EdZxz9bm4
        e25h75cbo2cSo2dc5wwNb/aCze9zXqF0QxjpBphvoM1Rnq82yCU7/LBXeg6Z7FeKfd3p7o3+bQk9mPCRoJntAbZzz/NyGT4PZzyNjrQ3dJt/fAVIryLW
        MYPazA53CViCXkJqCbElZ/vNJrjZ0SV4JeYSZ0pwS+ASTAmyBX7kVCVGyUHJuCV2S8qUXsTiSZiT/XNvygX8Jt7H1mfAxWcwMHt3LLjbSSx2Tr4iTCea
        PtYnOU1Bd+MDTG04eeBtxPE2yC0wCuwVwAX0h5bjBT8otLz7uHofx+7rnXsX3oHzSLS107avuUH+kLcihODHMBJDMhbkYqpwgDMHkDyw1z0IPojKQYUI
        +Ae94KDjjIBHsDGyzogbjPyUe25323dg0w6V23En9qW2XEZC7la65mZPPZyFycZ+hezv0if6Eh97NwVv5W8yv9H8wcwH2nXz9yC4R/M9dPur8sp4FU6/
        x44XtM4GwVm4Z9F11nSe/ZG5+8779x3V24667UebuALCKWKhpF0xt+avbBXHx2rXJuyi/BXcu3wFn87oabjT4Glgmt7mcWGjFMZzapwxndTT3kV1arXj
        gQGTGFD+gBsMsB4QIvtr/6ew6ifKOt021W5TcpF0N/xH7dS/YYMhyzuE1Roh9XoR28ll0W9DLpy2Xa3y42kbFzls/R57Hnda7LFgK+eaxQpJxq3wkBxb
        7AqPPXsR7gsxTBgKD/UfZOh7olssXTTPIiWK1LP4yMu3HKf1R7jDaB9msTwMM2x25DYg98jIaZU8zcFpzac/5Pw1tE9eh8F1fKRK9/7DuOF9LSUEubt/
        jcPcdnjTLfK8I8102bnZ3jJtfwktB1PJUwMhDyl57IUehOJAHqPrWN5On435vKw5ZYobTVybKz/SroxMMSEYY3WJK1aftPGUZbngRDba4IewE1nhpnFJ
        Z0LCvnXZJh17DX92rWq3SujrL7BO3Mr7JyV2wnrCoMPW6xfus1oG+3boT2y9pGUZG7NqW5hL3RaFA+tekZyfts95f/s91wrXB2p8aaTGP56spT7RtXc7
        r+va32O/LdbM93fXzl8tw/Yftyv4Jxr/AQ==
        """;

    private const string Names =
        """
        Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki
        Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee
        Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan
        Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi
        Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited
        Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi
        Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian
        Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui
        Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari
        Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic
        Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage
        Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan
        Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri
        Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh
        Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square
        """;
}
